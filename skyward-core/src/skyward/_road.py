"""From a request to machines that take tasks, and back until none is left."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import secrets
import socket
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward import _clock
from skyward._asking import all_of, ask, bug, seen_through, shielded, together
from skyward._books import Books
from skyward._buying import Buyer
from skyward._fleet import Fleet
from skyward._hooks import Hooks
from skyward._market import Identify, Market
from skyward._node import Node
from skyward.errors import ProvisioningError, ProvisionTimeout, SkywardError, UsageError
from skyward.model.events import (
    BootstrapPhase,
    BootstrapStarting,
    ClusterProvisioned,
    ClusterReady,
    Error,
    InfraCreating,
    InstanceBootstrapped,
    InstanceStopping,
    NodeReady,
    NodeReplaced,
)

if TYPE_CHECKING:
    from skyward._cost import CostMeter
    from skyward._dispatcher import Dispatcher
    from skyward._events import EventBus
    from skyward._fleet import Machine
    from skyward._market import Seller
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor
    from skyward.spi.transport import Transport

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
        self.deadline: float | None = None
        self._options = options
        self._hooks = Hooks() if hooks is None else hooks
        self._events = events
        self._reactor = reactor
        self._dispatcher = dispatcher
        self._token = secrets.token_bytes(32)
        self._books = Books(self.pool_id, events, cost)
        self._market: Market | None = None
        self._fleet = Fleet(self.pool_id, self._books.launched, self._books.gone)
        self._transports: dict[str, tuple[Seller, Transport]] = {}
        self._cluster: dict[str, Any] = {}
        self._working: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._ending: asyncio.Task[None] | None = None
        self._proven = False

    @property
    def lease(self) -> float | None:
        """Seconds within which every machine must hear from this client; ``None`` when none needs to."""
        return None if self._market is None else self._market.lease

    @property
    def remaining(self) -> list[str]:
        """Ids of the machines that are not proven to be gone."""
        return [machine.instance.id for machine in self._fleet.machines]

    # from the request to machines that take tasks

    async def provision(self) -> None:
        """Make the pool ready, or leave nothing behind and raise why not.

        Raises:
            ProvisionTimeout: it took longer than ``provision_timeout``.
            ProvisioningError: no machines could be had, or one could not be made ready.
        """
        with self._work():
            limit = self._options.provision_timeout
            timer = asyncio.timeout(limit)
            try:
                async with timer:
                    await self._provision()
            except BaseException as error:
                await shielded(self._end())
                if isinstance(error, TimeoutError) and timer.expired():
                    raise ProvisionTimeout(
                        f"the pool was not ready after {limit:g} s; raise provision_timeout=..., or see in the log "
                        "which step takes that long"
                    ) from error
                raise

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
        self._events.emit(InfraCreating())
        if spec.timeout is not None:
            self.deadline = _clock.current().time() + spec.timeout
        self._books.open(self.owner, self._options.providers, self.deadline)
        identify = Identify(self.pool_id, self.owner, self.deadline, self._options.lease, self._token)
        buyer = Buyer(spec, self._fleet, self._books.launching)
        self._market = Market(self._options, identify, buyer)
        await self._market.open()
        orders = await self._market.orders(range(spec.nodes))
        self._events.emit(ClusterProvisioned(orders[0].offers[0].offer.region))
        machines = await self._market.buy(orders)
        machines.sort(key=lambda machine: machine.instance.node)
        machines = await self._fleet.until_running(machines)
        for machine in machines:
            self._books.running(machine)
        self._describe_cluster(machines)
        await together(self._ready(machine) for machine in machines)
        self._events.emit(ClusterReady(len(machines)))

    def _describe_cluster(self, machines: Sequence[Machine]) -> None:
        """What every node is told of all of them."""
        first = machines[0].instance
        # Private addresses reach no further than one region of one provider.
        near = len({(machine.seller, machine.offer.region) for machine in machines}) == 1
        head = (first.private_ip if near else None) or first.ip or first.private_ip or "127.0.0.1"
        self._cluster = {
            "total_nodes": self._options.spec.nodes,
            "head_addr": head,
            "head_port": _rendezvous_port(head),
            "job_id": self.pool_id,
            "workers_per_node": self._options.spec.concurrency,
        }

    async def _ready(self, machine: Machine) -> Node:
        """Bootstrap one machine, start its slots, and let it take tasks."""
        seller, instance = machine.seller, machine.instance
        steps = await self._hooks.extra_steps(self._options.spec.image, instance)
        try:
            transport: Transport = seller.session.transport(instance, self._reactor)
        except SkywardError:
            raise
        except Exception as error:
            raise bug(seller.provider, "transport", error) from error
        self._transports[instance.id] = (seller, transport)
        self._events.emit(BootstrapStarting(instance.id))

        def report(step: str, state: Any, seconds: float | None) -> None:
            self._events.emit(BootstrapPhase(instance.id, step, state, seconds))

        interpreter = await ask(
            seller.provider, "bootstrap", transport.bootstrap(self._options.spec.image, report, steps)
        )
        self._events.emit(InstanceBootstrapped(instance.id))
        node = Node(instance.node, instance, transport, self._dispatcher, self.lease)
        self._dispatcher.nodes[instance.node] = node
        try:
            await node.start(interpreter, self._configuration(machine), self._options.spec.concurrency)
        except BaseException:
            if self._dispatcher.nodes.get(instance.node) is node:
                del self._dispatcher.nodes[instance.node]
            node.close()
            raise
        self._events.emit(NodeReady(instance.node, instance.id))
        return node

    def _configuration(self, machine: Machine) -> dict[str, Any]:
        devices: list[str] = []
        if machine.offer.accelerator is not None and self._options.spec.accelerator is not None:
            devices = [machine.offer.accelerator.name] * machine.offer.accelerator.count
        return {
            "cluster": {**self._cluster, "node": machine.instance.node, "accelerators": devices},
            "environment": {**self._options.spec.image.env, **self._options.environment},
            "metrics": self._options.collect_metrics,
        }

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
        await self._let_go(lost.instance.id)
        try:
            await self._fleet.end(old)
        except ProvisioningError as error:
            _log.warning("the lost machine is ended later, with the pool: %s", error)
        before = set(self._fleet.machines)
        try:
            new = await self._market.buy(await self._market.orders([lost.index]))
            for fresh in await self._fleet.until_running(new):
                self._books.running(fresh)
                await self._ready(fresh)
                note()
                self._events.emit(NodeReplaced(lost.index, lost.instance.id, fresh.instance.id))
        except Exception:  # a cancellation comes from `destroy`, which ends everything itself
            await shielded(self._give_up(lost.index, before))
            raise

    async def _give_up(self, index: int, others: set[Machine]) -> None:
        """End what was bought for a node in vain."""
        vain = [each for each in self._fleet.machines if each.instance.node == index and each not in others]
        for machine in vain:
            await self._let_go(machine.instance.id)
        await self._fleet.end(vain)

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
            steps.callback(lambda: self._books.close(clean=self._proven))
            if self._market is not None:
                steps.push_async_callback(self._market.close)
            steps.push_async_callback(self._end_machines)
            for machine in self._fleet.machines:
                self._events.emit(InstanceStopping(machine.instance.id))
            await all_of(self._let_go(instance_id) for instance_id in list(self._transports))

    async def _end_machines(self) -> None:
        try:
            await self._fleet.end_all()
        except SkywardError as error:
            self._events.emit(Error(str(error)))
            raise
        self._proven = True

    async def _let_go(self, instance_id: str) -> None:
        """Close the road to a machine. What goes wrong is logged: the machine is ended in any case."""
        seller, transport = self._transports.pop(instance_id, (None, None))
        if seller is None or transport is None:
            return
        try:
            await ask(seller.provider, "transport.close", transport.close(), 15)
        except SkywardError as error:
            _log.warning("the road to %s could not be closed: %s", instance_id, error)


def _rendezvous_port(head: str) -> int:
    """A port where the nodes can meet: a free one when they are on this machine, else torch's customary 29500."""
    if head.startswith("127."):
        with socket.socket() as probe:
            probe.bind((head, 0))
            return int(probe.getsockname()[1])
    return 29500
