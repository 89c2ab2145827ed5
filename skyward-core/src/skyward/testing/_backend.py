"""The inside of a fake cloud: what it sells, the machines that it has sold, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward._clock import Clock
from skyward._selection import fits
from skyward.errors import Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import LaunchRequest, PoolIdentity
from skyward.testing._clock import VirtualClock
from skyward.testing._loop import running_clock
from skyward.testing._record import Body, Record, due, state_at
from skyward.testing._script import Script, perform

if TYPE_CHECKING:
    from skyward.testing._session import FakeSession

__all__ = ["Backend"]

type _Product = tuple[str, str, str]


class Backend:
    """The state of one cloud. Sessions, transports and the test's `FakeCloud` all act on it, from any thread.

    ``body`` makes what a new machine consists of; the rest is as of `FakeCloud`.
    """

    def __init__(
        self,
        name: str,
        *,
        boot_seconds: float | None,
        forgetful: int,
        script: Script,
        clock: Clock,
        body: Callable[[Backend, str], Body],
    ) -> None:
        self.name = name
        self.clock = clock
        self.script = script
        self.boot_seconds = boot_seconds
        self.forgetful = forgetful
        self.lock = threading.RLock()
        self.records: dict[str, Record] = {}
        self.calls: list[tuple[str, Any]] = []
        self.open_sessions = 0
        self.sessions: list[FakeSession] = []
        self.open_roads: set[str] = set()
        self.boots: list[float | None] = []
        """What takes the place of ``boot_seconds`` for the machines that are created next."""
        self.short = 0
        """How many of the next orders of several machines get one fewer."""
        self._body = body
        self._offers: list[Offer] = []
        self._withdrawn: set[_Product] = set()

    # calls

    async def act(self, method: str, argument: object, work: Callable[[], Any]) -> Any:
        """One call of a session or a transport, as the script has it."""
        self.calls.append((method, argument))
        return await perform(self.script.next(method), argument, work, self.clock)

    # what it sells

    def sell(self, offers: Sequence[Offer]) -> None:
        """Sell these, in this order, in place of what was sold before."""
        with self.lock:
            self._withdrawn |= {_product(offer) for offer in self._offers}
            self._offers = [evolve(offer, provider=self.name) for offer in offers]
            self._withdrawn -= {_product(offer) for offer in self._offers}

    def offers(self, spec: ComputeSpec) -> list[Offer]:
        """What meets a request. The capacity is what is left of it."""
        with self.lock:
            self.expire()
            return [
                offer if offer.capacity is None else evolve(offer, capacity=self._left(offer))
                for offer in self._offers
                if fits(offer, spec)
            ]

    def _left(self, offer: Offer) -> int:
        """How many more machines of an offer there are."""
        taken = sum(_product(record.offer) == _product(offer) for record in self.living())
        return max((offer.capacity or 0) - taken, 0)

    # machines

    def living(self) -> list[Record]:
        """The machines that cost money."""
        return [record for record in self.records.values() if record.ended is None]

    def launch(self, identity: PoolIdentity, request: LaunchRequest) -> list[Instance]:
        """Sell machines, as many as there are.

        Raises:
            Unavailable: there are none.
        """
        with self.lock:
            self.expire()
            wish = request.offer
            what = f"{wish.instance_type} ({wish.market}) in {wish.region}"
            if _product(wish) in self._withdrawn:
                raise Unavailable(f"{self.name} does not sell {what} any more: ask for its offers again")
            limit = next((offer for offer in self._offers if _product(offer) == _product(wish)), wish)
            nodes = request.nodes if limit.capacity is None else request.nodes[: self._left(limit)]
            if not nodes:
                raise Unavailable(f"{self.name} has no {what} left: try another offer, or again later")
            if self.short and len(nodes) > 1:
                self.short -= 1
                nodes = nodes[:-1]
            return [self.instance(self._create(identity, _at_worst(request), node)) for node in nodes]

    def _create(self, identity: PoolIdentity, offer: Offer, node: int) -> Record:
        number, now = len(self.records), self.clock.monotonic()
        machine_id = f"i-{number}"
        boot = self.boots.pop(0) if self.boots else self.boot_seconds
        body = self._body(self, machine_id)
        record = Record(
            id=machine_id,
            node=node,
            pool_id=identity.pool_id,
            owner=identity.owner,
            client=identity.client,
            offer=offer,
            address=body.ip or f"203.0.113.{(number + 8) % 254 + 1}",
            private_address=body.ip or f"10.0.{(number + 9) // 256 % 256}.{(number + 9) % 256}",
            created=now,
            boots=None if boot is None else now + boot,
            deadline=identity.deadline,
            tag=identity.deadline,
            lease=identity.lease,
            body=body,
        )
        self.records[machine_id] = record
        self.arm(record)
        return record

    def instance(self, record: Record) -> Instance:
        """A machine as the provider describes it now."""
        state = self._shown(record, state_at(record, self.clock.monotonic()))
        up = state is InstanceState.RUNNING
        return Instance(
            id=record.id,
            state=state,
            pool_id=record.pool_id,
            node=record.node,
            offer=record.offer,
            ip=record.address if up else None,
            private_ip=record.private_address if up else None,
            deadline=record.tag,
            owner=record.owner,
            client=record.client,
        )

    def _shown(self, record: Record, state: InstanceState) -> InstanceState:
        if state is not InstanceState.GONE or record.shown >= self.forgetful:
            return state
        record.shown += 1
        return InstanceState.RUNNING

    def describe(self, ids: Iterable[str]) -> dict[str, Instance]:
        """The state of machines, by their ids; unknown ones are left out."""
        with self.lock:
            self.expire()
            known = [self.records[each] for each in ids if each in self.records]
        self._wait_for_boot(known)
        with self.lock:
            return {record.id: self.instance(record) for record in known}

    def _wait_for_boot(self, records: Sequence[Record]) -> None:
        """Where no virtual loop moves the clock, it moves to when the next of these machines runs: nobody waits."""
        now = self.clock.monotonic()
        boots = [record.boots for record in records if record.ended is None and record.boots and record.boots > now]
        if boots and isinstance(self.clock, VirtualClock) and running_clock() is not self.clock:
            self.clock.advance_to(min(boots))

    def owned(self, identity: PoolIdentity, pool_id: str | None) -> list[Instance]:
        """Machines by their tags; what they were bought as stands in none."""
        with self.lock:
            self.expire()
            tagged = [
                self.instance(record)
                for record in self.records.values()
                if (record.owner == identity.owner if pool_id is None else record.pool_id == pool_id)
            ]
        return [evolve(found, offer=None) for found in tagged if found.state is not InstanceState.GONE]

    def retag(self, ids: Iterable[str], deadline: float) -> None:
        """Have the tags of machines tell another deadline; unknown ones are let be."""
        with self.lock:
            self.expire()
            for each in ids:
                if each in self.records:
                    self.records[each].tag = deadline

    # ends

    def end(self, record: Record, moment: float, why: str) -> None:
        """A machine ends. Once it has, nothing changes it any more."""
        with self.lock:
            if record.ended is not None:
                return
            record.ended, record.why = moment, why
            if record.alarm is not None:
                record.alarm.cancel()
                record.alarm = None
        record.body.end(why)

    def terminate(self, ids: Iterable[str], why: str = "terminated") -> None:
        """End machines now; unknown ones and those that have ended are let be."""
        self.expire()
        for each in ids:
            if each in self.records:
                self.end(self.records[each], self.clock.monotonic(), why)

    def expire(self) -> None:
        """End each machine whose time has run out by now, at the moment at which it did."""
        with self.lock:
            now, epoch = self.clock.monotonic(), self._epoch()
            for record in self.living():
                end = due(record, epoch)
                if record.body.ended():
                    self.end(record, now, "ended by itself")
                elif end is not None and end[0] <= now:
                    self.end(record, *end)
                elif record.alarm is None:
                    self.arm(record)

    def arm(self, record: Record) -> None:
        """Look at a machine again when its time will have run out, if nothing moves that until then."""
        with self.lock:
            if not isinstance(self.clock, VirtualClock) or record.ended is not None:
                return
            if record.alarm is not None:
                record.alarm.cancel()
                record.alarm = None
            end = due(record, self._epoch())
            if end is not None:
                record.alarm = self.clock.call_at(end[0], lambda: self._rung(record))

    def _rung(self, record: Record) -> None:
        with self.lock:
            record.alarm = None
            self.expire()

    def _epoch(self) -> float:
        return self.clock.time() - self.clock.monotonic()

    # what a machine's client does

    def heard(self, record: Record) -> None:
        """The client has said a word: the lease begins anew."""
        with self.lock:
            self.expire()
            if record.ended is None:
                record.heard = self.clock.monotonic()
                if record.alarm is None:
                    self.arm(record)

    def extend(self, record: Record, seconds: float | None) -> None:
        """Move a machine's deadline to so many seconds from now; ``None`` for no deadline."""
        with self.lock:
            self.expire()
            record.deadline = None if seconds is None else self.clock.time() + seconds
            self.arm(record)


def _at_worst(request: LaunchRequest) -> Offer:
    """What is sold: at the highest price that it may come to, where there are several."""
    offer = request.offer
    if offer.highest_price is None:
        return offer
    return evolve(offer, price=min(offer.highest_price, request.max_price or offer.highest_price), highest_price=None)


def _product(offer: Offer) -> _Product:
    """What an offer sells, whatever its price is today."""
    return offer.instance_type, offer.region, offer.market
