"""The machines of a pool that may cost money: from the order until the proof that they are gone.

A machine is in the books from the moment at which its provider tells of it. What no provider told of, because a
launch was cut off or failed in an unknown way, is looked for by the pool's tag when the pool ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, evolve, frozen

from skyward._asking import NoAnswer, ask, bug
from skyward._concurrency import all_of, shielded
from skyward._market import Seller
from skyward._teardown import LATE, sweep, terminate
from skyward._watch import Watch
from skyward.errors import PluginError, ProvisioningError, SkywardError, Transient
from skyward.model.instance import Instance
from skyward.model.offer import Offer

if TYPE_CHECKING:
    from skyward.spi.provider import LaunchRequest

__all__ = ["Fleet", "Machine"]

_log = logging.getLogger("skyward.fleet")

_GRACE = 10.0
"""Seconds that an order which is already under way may still take when its pool is cancelled: it is better to learn
what it created than to have to look for it."""
_SILENCE = 2.0
"""Seconds of that grace after which whoever waits is told what for."""
_SETTLE = 5.0
"""Seconds for which a pool waits at its end for what an order may still bring forth that ended in an unknown way."""


@frozen(eq=False)
class Machine:
    """A machine that was bought: of whom, as what, and as its provider last described it."""

    seller: Seller
    offer: Offer
    instance: Instance


@define
class _Doubt:
    """What the orders of one provider may still bring forth that ended in an unclear way.

    Attributes:
        until: the moment of the loop's clock up to which that is worth looking for.
        possible: how many machines those are at most.
        machines: of how many of them nothing is known. None of an error that by the contract means that nothing was
            created.
        ended: ids that a look may still find, because their provider forgets slowly: they are no news.
    """

    until: float = 0.0
    possible: int = 0
    machines: int = 0
    ended: set[str] = Factory(set)

    def looked(self, strays: Sequence[str], moment: float) -> None:
        """There was a look at that moment, which found these. Only what that was too early for may still come."""
        fresh = set(strays) - self.ended
        self.ended |= fresh
        self.possible = 0 if moment >= self.until else max(self.possible - len(fresh), 0)
        self.machines = min(self.machines, self.possible)  # nobody knows which order it was that brought them forth


class Fleet:
    """Keeps what a pool has bought, and ends it.

    Args:
        pool_id: the tag that every machine of the pool bears.
        on_new: called with each machine as soon as it is known.
        on_gone: called with each machine once it is proven to be gone.
        on_answer: called with each order that ended, and whether what it has created is known.
        on_stray: called with an order and how many machines it has brought forth that nobody told of; they have ended.
    """

    def __init__(
        self,
        pool_id: str,
        on_new: Callable[[Machine], None],
        on_gone: Callable[[Machine], None],
        on_answer: Callable[[LaunchRequest, bool], None],
        on_stray: Callable[[Seller, LaunchRequest, int], None] = lambda _seller, _request, _count: None,
    ) -> None:
        self._pool_id = pool_id
        self._on_new = on_new
        self._on_gone = on_gone
        self._on_answer = on_answer
        self._on_stray = on_stray
        self._machines: dict[tuple[Seller, str], Machine] = {}
        self._turns: dict[Seller, asyncio.Lock] = {}
        self._watches: dict[Seller, Watch] = {}
        self._guards: dict[Seller, Watch] = {}
        self._orders: dict[asyncio.Task[list[object]], tuple[Seller, LaunchRequest]] = {}  # those under way
        self._doubts: dict[Seller, _Doubt] = {}  # of everyone who was given an order

    @property
    def machines(self) -> list[Machine]:
        """The machines that are not proven to be gone."""
        return list(self._machines.values())

    @property
    def doubtful(self) -> bool:
        """Whether an order may bring forth a machine yet of which nobody has told."""
        return any(doubt.machines > 0 for doubt in self._doubts.values())

    async def launch(self, seller: Seller, request: LaunchRequest) -> list[Machine]:
        """Give an order. A cancellation waits a little for its answer, so that what it created is known.

        Raises:
            ProviderError: as the provider raised it.
            PluginError: the provider broke its contract.
        What an order that failed in an unclear way may have created is ended before its error is raised.
        """
        self._doubts.setdefault(seller, _Doubt())
        # One at a time, so that looking for what one order left behind never finds what another one is bringing.
        async with self._turns.setdefault(seller, asyncio.Lock()):
            return await self._launch(seller, request)

    async def _launch(self, seller: Seller, request: LaunchRequest) -> list[Machine]:
        async def launched() -> list[object]:
            answer: object = await seller.session.launch(request)
            return list(answer) if isinstance(answer, Iterable) else [answer]

        limit = seller.provider.capabilities.launch_limit
        order = asyncio.ensure_future(ask(seller.provider, "launch", launched(), limit))
        self._orders[order] = seller, request
        try:
            await asyncio.wait([order])
        except BaseException:
            await shielded(self._cut_off(order))
            raise
        machines = self._conclude(order)
        if isinstance(order.exception(), (PluginError, Transient)):
            await self._end_strays(seller, request)
        answer = order.result()
        nodes = {machine.instance.node for machine in machines}
        if len(answer) == len(machines) == len(nodes) and nodes <= set(request.nodes):
            return machines
        self._doubt(seller, request, known=True)
        await self._end_strays(seller, request, machines)
        raise bug(seller.provider, "launch", f"an answer that is not machines for the nodes {request.nodes}: {answer}")

    async def _cut_off(self, order: asyncio.Task[list[object]]) -> None:
        """The pool does not want the order any more: see what becomes of it."""
        await asyncio.wait([order], timeout=_SILENCE)
        seller, _ = self._orders.get(order, (None, None))
        if seller is not None and not order.done():
            _log.info("waiting up to %g s for what %s is launching", _GRACE, seller.provider.name)
            await asyncio.wait([order], timeout=_GRACE - _SILENCE)
        order.cancel()
        await asyncio.wait([order], timeout=_GRACE)
        self._conclude(order)

    def _conclude(self, order: asyncio.Task[list[object]]) -> list[Machine]:
        """Book what became of an order; returns the machines that are new by it.

        By the contract an error means that nothing was created. A passing failure may all the same be a lost reply,
        which is worth a look; of an order without an answer, or with a plugin's mistake for one, nothing is known.
        """
        seller, request = self._orders.pop(order, (None, None))
        if seller is None or request is None:
            return []
        answered = order.done() and not order.cancelled()
        error = order.exception() if answered else None
        if not answered or isinstance(error, (NoAnswer, PluginError)):
            self._doubt(seller, request, known=False)
        elif isinstance(error, Transient):
            self._doubt(seller, request, known=True)
        machines = self._note(seller, request, order.result()) if answered and error is None else []
        self._on_answer(request, answered and not isinstance(error, (PluginError, Transient)))
        return machines

    def _doubt(self, seller: Seller, request: LaunchRequest, *, known: bool) -> None:
        doubt = self._doubts[seller]
        doubt.until = asyncio.get_running_loop().time() + LATE
        doubt.possible += len(request.nodes)
        doubt.machines += 0 if known else len(request.nodes)

    def _note(self, seller: Seller, request: LaunchRequest, answer: list[object]) -> list[Machine]:
        """Book the new machines in an answer."""
        fresh: dict[tuple[Seller, str], Machine] = {}
        for each in answer:
            if isinstance(each, Instance) and (seller, each.id) not in self._machines:
                offer = _bought_as(each, request)
                fresh[seller, each.id] = Machine(seller, offer, evolve(each, offer=offer))
        self._machines |= fresh
        for machine in fresh.values():
            self._on_new(machine)
        return list(fresh.values())

    async def _end_strays(self, seller: Seller, request: LaunchRequest, machines: Sequence[Machine] = ()) -> None:
        """After a plugin's mistake: end what it may have created. What fails here is done again at the pool's end."""
        try:
            await self.end(machines)
            now = asyncio.get_running_loop().time()
            strays = await sweep(seller, self._pool_id, known=self._ids(seller))
            self._doubts[seller].looked(strays, now)
            if strays:
                self._on_stray(seller, request, len(strays))
        except SkywardError as error:
            _log.warning("%s may still have machines that it did not tell of: %s", seller.provider.name, error)

    def _ids(self, seller: Seller) -> set[str]:
        return {instance_id for owner, instance_id in self._machines if owner is seller}

    # until they run

    async def until_running(self, machine: Machine) -> Machine:
        """Wait until a machine runs; returns it as it is then.

        Raises:
            MachineLost: it has ended, or its provider does not know it any more.
        """
        watch = self._watches.setdefault(machine.seller, Watch(machine.seller))
        found = await watch.until_running(machine.instance.id)
        now = evolve(machine, instance=evolve(found, node=machine.instance.node, offer=machine.offer))
        self._machines[machine.seller, machine.instance.id] = now
        return now

    async def make_ready[T](self, machine: Machine, work: Coroutine[Any, Any, T]) -> T:
        """Do something with a running machine; when that ends meanwhile, it is cut off.

        Raises:
            MachineLost: the machine has ended.
        """
        watch = self._guards.setdefault(machine.seller, Watch(machine.seller, over_running=True))
        return await watch.over(machine.instance.id, work)

    # the end

    async def end(self, machines: Iterable[Machine]) -> None:
        """End machines, those of each provider together.

        Raises:
            ProvisioningError: naming those that may still run; they stay in the books.
        """
        by_seller: dict[Seller, list[Machine]] = {}
        for machine in machines:
            by_seller.setdefault(machine.seller, []).append(machine)
        answers = await all_of(self._end(seller, of_it) for seller, of_it in by_seller.items())
        _raise_if([answer for answer in answers if answer])

    async def _end(self, seller: Seller, machines: Sequence[Machine]) -> str:
        ids = [machine.instance.id for machine in machines]
        try:
            await terminate(seller, ids)
        except Exception as error:  # noqa: BLE001  whatever it is, the machines must be named
            _log.debug("ending %s failed", ids, exc_info=True)
            return f"{', '.join(ids)} of {seller.provider.name} ({error})"
        for machine in machines:
            self._doubts[seller].ended.add(machine.instance.id)
            if self._machines.pop((seller, machine.instance.id), None) is not None:
                self._on_gone(machine)
        return ""

    async def end_all(self) -> None:
        """End every machine, known or not, and prove that nothing bears the pool's tag any more.

        Raises:
            ProvisioningError: naming what may still run.
        """
        answers = await all_of(self._end_all(seller) for seller in self._doubts)
        _raise_if([answer for answer in answers if answer])

    async def _end_all(self, seller: Seller) -> str:
        await self._no_more_orders(seller)
        known = [machine for machine in self.machines if machine.seller is seller]
        failed = await self._end(seller, known) if known else ""
        doubt, now = self._doubts[seller], asyncio.get_running_loop().time()
        doubtful = doubt.machines > 0 or now < doubt.until
        settle = _SETTLE if now < doubt.until else 0
        try:
            strays = await sweep(seller, self._pool_id, known=self._ids(seller), settle=settle)
            doubt.looked(strays, now + settle)
        except Exception as error:  # noqa: BLE001  as above
            _log.debug("looking for what is left failed", exc_info=True)
            if doubtful or isinstance(error, ProvisioningError):
                unknown = f"machines of {seller.provider.name} with the tag {self._pool_id}, if there are any ({error})"
                return "; ".join(filter(None, (failed, unknown)))
            _log.warning("%s cannot list what pool %s left: %s", seller.provider.name, self._pool_id, error)
        return failed

    async def _no_more_orders(self, seller: Seller) -> None:
        """See every order through of which whoever gave it has let go, because something befell that as well."""
        left = [order for order, (of, _) in self._orders.items() if of is seller]
        try:
            await all_of(self._cut_off(order) for order in left)
        except Exception:  # noqa: BLE001  what an order has created is looked for in any case
            _log.debug("an order could not be seen through", exc_info=True)
        for order in left:
            order.cancel()
            self._conclude(order)


def _bought_as(instance: Instance, request: LaunchRequest) -> Offer:
    """Which of the offers of an order a machine was bought as, by the word of its session where that makes sense."""
    told = instance.offer
    if told is None or not any(_alike(told, offer) for offer in (request.offer, *request.alternatives)):
        return request.offer
    return told


def _alike(one: Offer, other: Offer) -> bool:
    """Whether two offers are of the same machine; their prices may differ."""
    return all(getattr(one, name) == getattr(other, name) for name in ("instance_type", "region", "market"))


def _raise_if(failures: Sequence[str]) -> None:
    if failures:
        raise ProvisioningError(
            f"these machines may still run and cost money: {'; '.join(failures)}; end them at the provider"
        )
