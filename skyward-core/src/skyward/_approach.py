"""From a machine that runs to a node that takes tasks: the road to it, its bootstrap, its slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyward._asking import ask, bug, let_go
from skyward._configuration import configured
from skyward._node import Node
from skyward._watch import unreachable
from skyward.errors import ProvisioningError, SkywardError
from skyward.model.events import BootstrapPhase, BootstrapStarting, InstanceBootstrapped, NodeReady

if TYPE_CHECKING:
    from skyward._deadline import Deadline
    from skyward._dispatcher import Dispatcher
    from skyward._events import EventBus
    from skyward._fleet import Machine
    from skyward._hooks import Hooks
    from skyward._market import Seller
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor
    from skyward._rendezvous import Rendezvous
    from skyward.spi.transport import Interpreter, Transport

__all__ = ["Approach"]


class Approach:
    """The open roads to a pool's machines.

    Args:
        pool_id: the pool's.
        events: is told of each step.
        reactor: carries what the transports talk.
        dispatcher: gets the nodes.
        deadline: is told to them.
        rendezvous: knows who else is in the pool.
    """

    def __init__(
        self,
        pool_id: str,
        events: EventBus,
        reactor: Reactor,
        *,
        dispatcher: Dispatcher,
        deadline: Deadline,
        rendezvous: Rendezvous,
    ) -> None:
        self._pool_id = pool_id
        self._events = events
        self._reactor = reactor
        self._dispatcher = dispatcher
        self._deadline = deadline
        self._rendezvous = rendezvous
        self._transports: dict[tuple[int, str], tuple[Seller, Transport]] = {}  # by node and id: two may have one id

    @property
    def open(self) -> list[tuple[int, str]]:
        """The nodes, and the ids of their machines, to which there is a road."""
        return list(self._transports)

    async def ready(self, machine: Machine, options: PoolOptions, hooks: Hooks, lease: float | None) -> Node:
        """Bootstrap one machine, start its slots, and let it take tasks.

        Args:
            machine: one that runs.
            options: the pool's, as its plugins have prepared them.
            hooks: give further steps.
            lease: seconds within which it must hear from this client; ``None`` when it needs not.
        """
        seller, instance = machine.seller, machine.instance
        image = options.spec.image
        if options.image_here is not None and seller.provider.capabilities.client_environment:
            image = options.image_here
        steps = await hooks.extra_steps(image, instance)
        try:
            transport: Transport = seller.session.transport(instance, self._reactor)
        except SkywardError:
            raise
        except Exception as error:
            raise bug(seller.provider, "transport", error) from error
        self._transports[instance.node, instance.id] = (seller, transport)
        self._events.emit(BootstrapStarting(instance.id))

        def report(step: str, state: Any, seconds: float | None) -> None:
            self._events.emit(BootstrapPhase(instance.id, step, state, seconds))

        async def prepared() -> Interpreter:
            try:
                return await transport.bootstrap(image, report, steps)
            except ConnectionError as error:
                raise unreachable(instance.id, seller, error) from error

        interpreter = await ask(seller.provider, "bootstrap", prepared())
        self._events.emit(InstanceBootstrapped(instance.id))
        cluster = await self._rendezvous.cluster(instance.node)
        configuration = configured(options, self._pool_id, cluster, machine)
        node = Node(instance.node, instance, transport, self._dispatcher, lease)
        node.on_return = self._rendezvous.look_again
        self._dispatcher.nodes[instance.node] = node
        try:
            await self._deadline.catch_up(machine, node)
            await node.start(interpreter, configuration, options.spec.concurrency)
            self._deadline.arrived(machine)
        except BaseException as error:
            if self._dispatcher.nodes.get(instance.node) is node:
                del self._dispatcher.nodes[instance.node]
            node.close()
            if isinstance(error, OSError) and not isinstance(error, SkywardError):  # it was reached a moment ago
                raise ProvisioningError(str(unreachable(instance.id, seller, error))) from error
            raise
        self._events.emit(NodeReady(instance.node, instance.id))
        return node

    async def let_go(self, node: int, instance_id: str) -> None:
        """Close the road to a machine. What goes wrong is logged: the machine is ended in any case."""
        seller, transport = self._transports.get((node, instance_id), (None, None))
        if seller is None or transport is None:
            return
        await let_go(seller.provider, f"transport.close of {instance_id}", transport.close)
        self._transports.pop((node, instance_id), None)  # only now: whoever is interrupted here has not closed it
