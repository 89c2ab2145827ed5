"""From a request to machines that take tasks, and back until none is left."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import secrets
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from skyward import _clock
from skyward._approach import Approach
from skyward._books import Books
from skyward._buying import Buyer
from skyward._concurrency import all_of, seen_through, shielded, together
from skyward._deadline import Deadline
from skyward._fleet import Fleet
from skyward._hooks import Hooks
from skyward._market import Identify, Market
from skyward._reap import tidy
from skyward._rendezvous import Rendezvous
from skyward._substitutes import Substitutes
from skyward.errors import ProvisioningError, ProvisionTimeout, SkywardError, UsageError
from skyward.model.events import (
    ClusterProvisioned,
    ClusterReady,
    Error,
    InfraCreating,
    InstanceStopping,
    NodeReplaced,
)

if TYPE_CHECKING:
    from skyward._cost import CostMeter
    from skyward._dispatcher import Dispatcher
    from skyward._events import EventBus
    from skyward._fleet import Machine
    from skyward._node import Node
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor

__all__ = ["Road"]

_log = logging.getLogger("skyward.road")


class Road:
    """One pool's machines, from the first offer to the proof that nothing is left.

    Everything here runs on the pool's event loop.
    """

    def __init__(
        self,
        options: PoolOptions,
        events: EventBus,
        reactor: Reactor,
        dispatcher: Dispatcher,
        cost: CostMeter,
        *,
        hooks: Hooks | None = None,
    ) -> None:
        self.pool_id = secrets.token_hex(5)
        self.owner = f"{getpass.getuser()}@{socket.gethostname()}"
        self._options = options
        self._hooks = Hooks() if hooks is None else hooks
        self._events = events
        self._dispatcher = dispatcher
        self._token = secrets.token_bytes(32)
        self._books = Books(self.pool_id, events, cost)
        self._market: Market | None = None
        self._fleet = Fleet(
            self.pool_id, self._books.launched, self._books.gone, self._books.answered, self._books.strayed
        )
        self._deadline = Deadline(self._fleet, dispatcher, self._books.extended, options.limits)
        self._books.deadline = self._deadline
        self._rendezvous = Rendezvous(lambda: list(dispatcher.nodes.values()))
        dispatcher.teams.addresses = self._rendezvous.addresses
        dispatcher.teams.apart = self._rendezvous.apart
        self._approach = Approach(
            self.pool_id,
            events,
            reactor,
            dispatcher=dispatcher,
            deadline=self._deadline,
            rendezvous=self._rendezvous,
        )
        self._early: list[tuple[Node, str]] = []
        self._working: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._tidying: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._proven = False

    @property
    def lease(self) -> float | None:
        """Seconds within which every machine must hear from this client; ``None`` when none needs to."""
        return None if self._market is None else self._market.lease

    @property
    def deadline(self) -> float | None:
        """Seconds since the epoch at which the machines end themselves; ``None`` for never."""
        return self._deadline.at

    @property
    def limit(self) -> Literal["timeout", "budget"]:
        """The parameter from which the deadline follows."""
        return self._deadline.limit

    @property
    def remaining(self) -> list[str]:
        """Ids of the machines that are not proven to be gone."""
        return [machine.instance.id for machine in self._fleet.machines]

    # from the request to machines that take tasks

    async def provision(self) -> None:
        """Make the pool ready, or leave nothing behind and raise why not.

        Raises:
            ProvisionTimeout: it took longer than ``provision_timeout``, or than the machines may live.
            ProvisioningError: no machines could be had, or one could not be made ready.
        """
        with self._work():
            limit, parameter = self._patience(self._options.spec.timeout)
            timer = asyncio.timeout(limit)
            try:
                async with timer:
                    await self._provision()
            except BaseException as error:
                await shielded(self._end())
                if isinstance(error, TimeoutError) and timer.expired():
                    raise ProvisionTimeout(
                        f"the pool was not ready after {limit:g} s; raise {parameter}=..., or see in the log "
                        "which step takes that long"
                    ) from error
                raise

    def _patience(self, left: float | None) -> tuple[float, str]:
        """For how many seconds to buy, and which parameter says so. ``left`` is for how long the machines may live."""
        limit = self._options.provision_timeout
        return (limit, "provision_timeout") if left is None or limit <= left else (max(left, 0.0), self.limit)

    @contextlib.contextmanager
    def _work(self) -> Generator[None]:
        """Inside, the present task may buy: whoever ends the pool cancels it first, and waits until it is out."""
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            raise UsageError("this pool has ended: its machines are gone; make a new pool")
        self._working.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._working.discard(task)
            if not self._working:
                self._idle.set()

    async def _provision(self) -> None:
        self._options.spec.image.check()
        spec = await self._hooks.prepared(self._options.spec)
        self._options = evolve(self._options, spec=spec)
        if self._options.plugins:
            from skyward._supplying import supplied

            self._options = await supplied(self._options)
            spec = self._options.spec
        self._events.emit(InfraCreating())
        self._deadline.begin(None if spec.timeout is None else _clock.current().time() + spec.timeout)
        self._books.open(self.owner, self._options.providers, self.deadline)
        identify = Identify(self.pool_id, self.owner, self.deadline, self._options.lease, self._token)
        buyer = Buyer(spec, self._fleet, self._books.launching, self._deadline)
        self._market = Market(self._options, identify, buyer, self._deadline)
        await self._market.open()
        self._tidying = asyncio.ensure_future(tidy(self._market.sellers))
        orders = await self._market.orders(range(spec.nodes))
        self._events.emit(ClusterProvisioned(orders[0].offers[0].offer.region))
        machines = await self._market.buy(orders)
        for machine in machines:
            self._rendezvous.expect(machine)
        substitutes = self._substitutes()
        self._dispatcher.on_node_lost = self._note_lost
        await together(self._bring(machine, substitutes) for machine in machines)
        while lost := self.lost_early():
            await together(self._bring_again(node, why, substitutes) for node, why in lost)
        await self._deadline.settle(self._market.sellers)
        self._events.emit(ClusterReady(len(machines)))

    def _substitutes(self) -> Substitutes:
        assert self._market is not None

        return Substitutes(self._market, self._fleet, self._events, self._approach.let_go, self._deadline.over)

    async def _bring(self, machine: Machine, substitutes: Substitutes, instead_of: str | None = None) -> Node:
        """Make a machine ready, or another one in its place. ``instead_of`` is the id of the one before it."""
        before = instead_of

        async def bring(machine: Machine) -> Node:
            nonlocal before
            earlier, before = before, machine.instance.id
            machine = await self._running(machine)
            work = self._approach.ready(machine, self._options, self._hooks, self.lease)
            node = await self._fleet.make_ready(machine, work)
            if earlier is not None:
                self._events.emit(NodeReplaced(node.index, earlier, node.instance.id))
            return node

        return await substitutes.bring(machine, bring)

    def _note_lost(self, node: Node, why: str) -> bool:
        """A machine is gone that took tasks already, while others are made ready. On any thread."""
        self._early.append((node, why))
        return True

    def lost_early(self) -> list[tuple[Node, str]]:
        """The nodes that were lost since they were ready and until the pool was, each told once, with the reason."""
        lost, self._early = self._early, []
        return lost

    async def _bring_again(self, node: Node, why: str, substitutes: Substitutes) -> Node:
        machine = self._rendezvous.at(node.index)
        return await self._bring(await substitutes.another(machine, why), substitutes, machine.instance.id)

    async def _running(self, machine: Machine) -> Machine:
        """Wait until a machine runs."""
        self._rendezvous.expect(machine)
        machine = await self._fleet.until_running(machine)
        self._rendezvous.meet(machine)
        self._books.running(machine)
        return machine

    # while tasks run

    async def replace(self, lost: Node, note: Callable[[], None]) -> None:
        """Buy a machine in the place of one that was lost, and let it take tasks. ``note`` is called once it can.

        Raises:
            ProvisioningError: none could be had; what was bought for it has been ended.
        """
        with self._work():
            await self._replace(lost, note)

    async def _replace(self, lost: Node, note: Callable[[], None]) -> None:
        assert self._market is not None
        old = [machine for machine in self._fleet.machines if machine.instance.id == lost.instance.id]
        await self._approach.let_go(lost.index, lost.instance.id)
        try:
            await self._fleet.end(old)
        except ProvisioningError as error:
            _log.warning("the lost machine is ended later, with the pool: %s", error)
        before = set(self._fleet.machines)
        left = None if self.deadline is None else self.deadline - _clock.current().time()
        limit, parameter = self._patience(left)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                await self._market.refresh()
                (new,) = await self._market.buy(await self._market.orders([lost.index]))
                await self._bring(new, self._substitutes(), lost.instance.id)
                note()
        except Exception as error:  # a cancellation comes from `destroy`, which ends everything itself
            await shielded(self._give_up(lost.index, before))
            if isinstance(error, TimeoutError) and timer.expired():
                raise ProvisionTimeout(
                    f"no other machine was ready after {limit:g} s; raise {parameter}=..."
                ) from error
            raise
        await self._deadline.settle(self._market.sellers)

    async def _give_up(self, index: int, others: set[Machine]) -> None:
        """End what was bought for a node in vain."""
        vain = [each for each in self._fleet.machines if each.instance.node == index and each not in others]
        for machine in vain:
            await self._approach.let_go(index, machine.instance.id)
        await self._fleet.end(vain)

    async def finish(self, node: Node) -> None:
        """End the machine of a node whose time is over, and prove it, so that it costs nothing from now on."""
        with contextlib.suppress(UsageError), self._work():
            over = [machine for machine in self._fleet.machines if machine.instance.id == node.instance.id]
            await self._approach.let_go(node.index, node.instance.id)
            await self._fleet.end(over)

    async def extend(self, deadline: float) -> None:
        """Have the machines end themselves at another moment, in seconds since the epoch; see `Deadline.move`."""
        assert self._market is not None
        try:
            with self._work():
                await self._deadline.move(deadline, self._market.sellers)
        except asyncio.CancelledError:
            if not self._closing:
                raise
            raise UsageError("this pool is ending: there is no machine any more to extend") from None

    # the end

    async def destroy(self) -> None:
        """Stop whatever still buys, end every machine, and prove it. Cancelling this does not stop it.

        Raises:
            ProvisioningError: naming what may still run; the ledger is kept.
        """
        await shielded(self._stop_and_end())

    async def _stop_and_end(self) -> None:
        self._closing = True
        for task in list(self._working):
            task.cancel()
        caught: BaseException | None = None
        while self._working:  # whatever befalls the waiting
            caught = await seen_through([asyncio.ensure_future(self._idle.wait())]) or caught
        await self._end()
        if caught is not None:
            raise caught

    async def _end(self) -> None:
        """End everything, once; whoever comes second waits for the first."""
        self._closing = True
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end_once())
        await shielded(self._ending)

    async def _end_once(self) -> None:
        async with contextlib.AsyncExitStack() as steps:  # done from the last one up, whatever befalls the others
            steps.callback(lambda: self._books.close(clean=self._proven and not self._fleet.doubtful))
            if self._market is not None:
                steps.push_async_callback(self._market.close)
            steps.push_async_callback(self._stop_tidying)
            steps.push_async_callback(self._end_machines)
            for machine in self._fleet.machines:
                self._events.emit(InstanceStopping(machine.instance.id))
            await all_of(self._approach.let_go(*which) for which in self._approach.open)

    async def _stop_tidying(self) -> None:
        """What dead clients left is for the next pool if it takes that long. What went wrong is of no matter here."""
        if self._tidying is None:
            return
        self._tidying.cancel()
        await seen_through([self._tidying])
        if not self._tidying.cancelled() and (error := self._tidying.exception()) is not None:
            _log.warning("what clients that died left behind is left to the next pool: %s", error)

    async def _end_machines(self) -> None:
        try:
            await self._fleet.end_all()
        except SkywardError as error:
            self._events.emit(Error(str(error)))
            raise
        self._proven = True
