"""From a request to machines that take tasks, and back until none is left."""

from __future__ import annotations

import asyncio
import getpass
import logging
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skyward import _market, _teardown
from skyward._ledger import Ledger
from skyward._node import Node
from skyward.errors import ProvisionTimeout
from skyward.model.events import (
    BootstrapPhase,
    BootstrapStarting,
    ClusterProvisioned,
    ClusterReady,
    InfraCreating,
    InstanceBootstrapped,
    InstanceLaunched,
    InstanceLaunching,
    InstanceProvisioned,
    InstanceRunning,
    NodeReady,
    NodeReplaced,
)

if TYPE_CHECKING:
    from skyward._cost import CostMeter
    from skyward._dispatcher import Dispatcher
    from skyward._events import EventBus
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor
    from skyward.model.instance import Instance
    from skyward.model.offer import Offer
    from skyward.spi.provider import Session
    from skyward.spi.transport import Interpreter, Transport

__all__ = ["Road"]

_log = logging.getLogger("skyward.road")


class Road:
    """One pool's machines, from the first offer to the proof that nothing is left.

    Everything here runs on the pool's event loop.
    """

    def __init__(
        self, options: PoolOptions, events: EventBus, reactor: Reactor, dispatcher: Dispatcher, cost: CostMeter
    ) -> None:
        self.pool_id = secrets.token_hex(5)
        self.owner = f"{getpass.getuser()}@{socket.gethostname()}"
        self.deadline: float | None = None
        self.lease: float | None = None
        self._options = options
        self._events = events
        self._reactor = reactor
        self._dispatcher = dispatcher
        self._cost = cost
        self._token = secrets.token_bytes(32)
        self._ledger: Ledger | None = None
        self._market: _market.Market | None = None
        self._launched: dict[str, tuple[Session, Instance]] = {}
        self._cluster: dict[str, Any] = {}

    async def provision(self) -> None:
        """Make the pool ready, or leave nothing behind and raise why not."""
        limit = self._options.provision_timeout
        try:
            async with asyncio.timeout(limit) as timer:
                await self._provision()
        except BaseException as error:
            await _teardown.shielded(self.destroy())
            if isinstance(error, TimeoutError) and timer.expired():
                raise ProvisionTimeout(
                    f"the pool was not ready after {limit:g} s; raise provision_timeout=..., or see in the log which "
                    "step takes that long"
                ) from error
            raise

    async def _provision(self) -> None:
        spec = self._options.spec
        spec.image.check()
        self._events.emit(InfraCreating())
        self._ledger = Ledger(self.pool_id)
        self._ledger.record("opened", owner=self.owner, providers=[item.name for item in self._options.providers])
        if spec.timeout is not None:
            self.deadline = time.time() + spec.timeout
        self._market = await _market.open_market(self._options, self._identity_of())
        self.lease = self._market.lease
        instances: list[Instance] = []
        orders = await self._market.orders(range(spec.nodes))
        self._events.emit(ClusterProvisioned(orders[0].offers[0].region))
        for order in orders:
            instances += await self._market.buy(order, self._before_launch, self._after_launch)
        instances.sort(key=lambda instance: instance.node)
        instances = await self._market.until_running(instances)
        for instance in instances:
            self._running(instance)
        self._describe_cluster(instances)
        await _together([self._ready(instance) for instance in instances])
        self._events.emit(ClusterReady(len(instances)))

    def _identity_of(self) -> _market.Identify:
        return _market.Identify(self.pool_id, self.owner, self.deadline, self._options.lease, self._token)

    async def _before_launch(self, offer: Offer, nodes: Sequence[int]) -> None:
        assert self._ledger is not None
        self._ledger.record("launching", provider=offer.provider, machine=offer.instance_type, nodes=list(nodes))
        self._events.emit(InstanceLaunching(len(nodes), offer.instance_type, offer.provider))

    def _after_launch(self, session: Session, offer: Offer, instances: Sequence[Instance]) -> None:
        assert self._ledger is not None
        self._ledger.record("launched", provider=offer.provider, ids=[instance.id for instance in instances])
        for instance in instances:
            self._launched[instance.id] = (session, instance)
            self._cost.start(
                instance.id,
                on_demand=offer.on_demand_price if offer.on_demand_price is not None else offer.price,
                spot_price=offer.price if offer.market == "spot" else None,
                spot=offer.market == "spot",
                quantum=offer.billing_quantum,
            )
            self._events.emit(InstanceLaunched(instance.id, instance.node, offer.provider))

    def _running(self, instance: Instance) -> None:
        offer = instance.offer
        assert offer is not None
        self._events.emit(InstanceRunning(instance.id, instance.node, instance.ip))
        spot = offer.market == "spot"
        self._events.emit(
            InstanceProvisioned(
                instance_id=instance.id,
                node=instance.node,
                spot=spot,
                provider=offer.provider,
                ip=instance.ip,
                instance_type=offer.instance_type,
                price_on_demand=offer.on_demand_price,
                price_spot=offer.price if spot else None,
            )
        )

    def _describe_cluster(self, instances: Sequence[Instance]) -> None:
        """What every node is told of all of them."""
        head = instances[0].private_ip or instances[0].ip or "127.0.0.1"
        self._cluster = {
            "total_nodes": self._options.spec.nodes,
            "head_addr": head,
            "head_port": _rendezvous_port(head),
            "job_id": self.pool_id,
            "workers_per_node": self._options.spec.concurrency,
        }

    async def _ready(self, instance: Instance) -> Node:
        """Bootstrap one machine, start its slots, and let it take tasks."""
        session, _ = self._launched[instance.id]
        transport: Transport = session.transport(instance, self._reactor)
        self._events.emit(BootstrapStarting(instance.id))

        def report(step: str, state: Any, seconds: float | None) -> None:
            self._events.emit(BootstrapPhase(instance.id, step, state, seconds))

        interpreter = await transport.bootstrap(self._options.spec.image, report)
        self._events.emit(InstanceBootstrapped(instance.id))
        node = Node(instance.node, instance, transport, self._dispatcher, self.lease)
        self._dispatcher.nodes[instance.node] = node
        await node.start(interpreter, self._configuration(instance, interpreter), self._options.spec.concurrency)
        self._events.emit(NodeReady(instance.node, instance.id))
        return node

    def _configuration(self, instance: Instance, _interpreter: Interpreter) -> dict[str, Any]:
        offer = instance.offer
        devices: list[str] = []
        if offer is not None and offer.accelerator is not None and self._options.spec.accelerator is not None:
            devices = [offer.accelerator.name] * offer.accelerator.count
        return {
            "cluster": {**self._cluster, "node": instance.node, "accelerators": devices},
            "environment": {**self._options.spec.image.env, **self._options.environment},
            "metrics": self._options.collect_metrics,
            "mig": self._options.spec.accelerator is not None and self._options.spec.accelerator.mig is not None,
        }

    async def replace(self, lost: Node, note: Callable[[], None]) -> None:
        """Buy a machine in the place of one that was lost, and let it take tasks. ``note`` is called once it can."""
        assert self._market is not None
        session, instance = self._launched[lost.instance.id]
        await _teardown.terminate(session, [instance.id])
        self._forget(instance.id)
        new: list[Instance] = []
        for order in await self._market.orders([lost.index]):
            new += await self._market.buy(order, self._before_launch, self._after_launch)
        for fresh in await self._market.until_running(new):
            self._running(fresh)
            await self._ready(fresh)
            note()
            self._events.emit(NodeReplaced(lost.index, instance.id, fresh.id))

    def _forget(self, instance_id: str) -> None:
        self._cost.stop(instance_id)
        self._launched.pop(instance_id, None)
        if self._ledger is not None:
            self._ledger.record("terminated", ids=[instance_id])

    @property
    def remaining(self) -> list[str]:
        """Ids of the machines that have not been ended yet."""
        return list(self._launched)

    async def destroy(self) -> None:
        """End every machine and prove it; what cannot be ended is named and stays in the ledger."""
        try:
            await _teardown.destroy(self._market, dict(self._launched), self._events, self._forget)
        finally:
            if self._ledger is not None:
                self._ledger.close(clean=not self._launched)
                self._ledger = None


async def _together[T](coroutines: Sequence[Any]) -> list[T]:
    """Run all at once; the first failure cancels the others and is raised as itself."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _rendezvous_port(head: str) -> int:
    """A port where the nodes can meet: a free one when they are on this machine, else torch's customary 29500."""
    if head.startswith("127."):
        with socket.socket() as probe:
            probe.bind((head, 0))
            return int(probe.getsockname()[1])
    return 29500
