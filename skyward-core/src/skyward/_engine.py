"""What runs behind a pool while its block is open: threads, road, dispatcher, display; and its orderly end."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import importlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skyward import _signals
from skyward._cost import CostMeter
from skyward._display import make_display
from skyward._events import EventBus
from skyward.errors import UsageError
from skyward.model.events import ClusterDestroyed, Error, PoolStopping, TimeoutApproaching

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._loop import LoopThread
    from skyward._node import Node
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor
    from skyward._road import Road
    from skyward.spi.integration import Integration

__all__ = ["Engine"]

_log = logging.getLogger("skyward.pool")

_COST_EVERY = 30.0
_WARN_BEFORE = 300.0
"""Seconds before the machines end themselves at which a warning event comes."""


class Engine:
    """The life of one pool: new, entering, active, leaving, left."""

    def __init__(self, options: PoolOptions) -> None:
        self.state = "new"
        self.events = EventBus()
        self.dispatcher: Dispatcher
        self._options = options
        self._loop: LoopThread
        self._reactor: Reactor
        self._road: Road
        self._cost = CostMeter()
        self._warned = False
        self._sigterm = _signals.terminable()
        self._at_leave: list[Callable[[], None]] = []
        self._display = make_display(options.display)
        self._unsubscribe: list[Callable[[], None]] = []

    # entering

    def enter(self) -> None:
        """Provision, and wait for it. An interrupt rolls back what was begun."""
        provisioning = self.begin()
        try:
            importlib.import_module("skyward._calls")  # what the first task needs, while the machines start
            provisioning.result()
        except BaseException:
            self.abort(provisioning)
            raise
        self.complete()

    async def aenter(self) -> None:
        """:meth:`enter` for coroutines."""
        provisioning = await asyncio.to_thread(self.begin)
        try:
            await asyncio.wrap_future(provisioning)
        except BaseException:
            await asyncio.to_thread(self.abort, provisioning)
            raise
        self.complete()

    def begin(self) -> concurrent.futures.Future[None]:
        """Start provisioning; `complete` or `abort` must follow."""
        self._begin()
        return self._loop.start(self._road.provision())

    def abort(self, provisioning: concurrent.futures.Future[None]) -> None:
        """Stop provisioning, wait until its roll-back is through, and let go of everything."""
        provisioning.cancel()
        try:
            _signals.finish(self._loop.start(self._road.destroy()), lambda: self._road.remaining)
        finally:
            self._release("failed to start")

    def _begin(self) -> None:
        if self.state != "new":
            raise UsageError(f"this pool is {self.state}: a pool is entered once; make a new sky.ComputePool(...)")
        self.state = "being entered"
        self._sigterm.__enter__()
        atexit.register(self.leave)  # for a pool that is entered without a block
        self.events.adopt()
        if self._options.on_event is not None:
            self._unsubscribe.append(self.events.subscribe(self._options.on_event))
        types = self._display.types
        if types:
            self._unsubscribe.append(self.events.subscribe(self._display.callback, types))
        self._display.start()
        from skyward._dispatcher import Dispatcher
        from skyward._loop import LoopThread
        from skyward._reactor import Reactor
        from skyward._road import Road

        self._loop = LoopThread("skyward-loop")
        self._reactor = Reactor("skyward-io")
        self.dispatcher = Dispatcher(self.events, self._reactor)
        self._road = Road(self._options, self.events, self._reactor, self.dispatcher, self._cost)

    def complete(self) -> None:
        """The machines are there: take tasks."""
        self.state = "active"
        self.dispatcher.on_node_lost = self._node_lost
        deadline = self._road.deadline
        if deadline is not None:
            moment = time.strftime("%H:%M:%S", time.localtime(deadline))
            _log.info("the machines end themselves at %s (timeout=%g)", moment, self._options.spec.timeout or 0)
        lease = self._road.lease
        if lease is not None:
            self._every(lease / 4, self._renew)
        self._every(_COST_EVERY, lambda: self.events.emit(self._cost.update()))
        self._every(1.0, self._watch_deadline)

    def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        def again() -> None:
            if self.state == "active":
                action()
                self._reactor.call_later(seconds, again)

        self._reactor.call_later(seconds, again)

    def _renew(self) -> None:
        for node in list(self.dispatcher.nodes.values()):
            node.renew()

    def _watch_deadline(self) -> None:
        deadline = self._road.deadline
        if deadline is None:
            return
        left = deadline - time.time()
        if left <= min(_WARN_BEFORE, (self._options.spec.timeout or 0) / 2) and not self._warned:
            self._warned = True
            self.events.emit(TimeoutApproaching(left, deadline))

    # while it is open

    @property
    def is_active(self) -> bool:
        """Whether tasks are taken."""
        return self.state == "active"

    @property
    def instance_count(self) -> int:
        """Machines that take tasks."""
        return len(self.dispatcher.nodes) if self.is_active else 0

    @property
    def node_count(self) -> int:
        """Machines that were asked for."""
        return self._options.spec.nodes

    @property
    def plugins(self) -> tuple[Integration, ...]:
        """Integrations that are around every function of the pool."""
        return self._options.plugins

    def require_active(self) -> None:
        """Raise unless tasks are taken.

        Raises:
            UsageError: the pool is not entered yet, or has ended.
        """
        if self.state == "active":
            return
        if self.state in ("new", "being entered"):
            raise UsageError("this pool is not entered: dispatch inside its `with` block")
        raise UsageError("this pool has ended: its machines are gone; dispatch inside the `with` block, or make a new pool")

    def at_leave(self, function: Callable[[], None]) -> None:
        """Call ``function`` when the pool ends."""
        self._at_leave.append(function)

    def extend(self, seconds: float) -> None:
        """Move the deadline of every machine to ``seconds`` from now."""
        self.require_active()
        for node in list(self.dispatcher.nodes.values()):
            node.extend(seconds)
        self._road.deadline = time.time() + seconds
        self._warned = False

    def _node_lost(self, node: Node, why: str) -> bool:
        """A machine is gone: buy another one, unless the pool's own time is over. True when one is on its way."""
        if self.state != "active" or why == "deadline":
            return False
        self._loop.start(self._replace(node))
        return True

    async def _replace(self, node: Node) -> None:
        try:
            await self._road.replace(node, lambda: None)
        except Exception as error:  # noqa: BLE001  the pool goes on with the machines that it has
            _log.error("node %d could not be replaced: %s", node.index, error)
            self.events.emit(Error(f"node {node.index} could not be replaced: {error}", node.instance.id))
            self.dispatcher.give_up(node.index)

    # leaving

    def leave(self) -> None:
        """End every machine and wait for the proof. Interrupts are answered, and do not stop it."""
        if not self._stop():
            return
        try:
            _signals.finish(self._loop.start(self._road.destroy()), lambda: self._road.remaining)
        finally:
            self._release("ended")

    async def aleave(self) -> None:
        """:meth:`leave` for coroutines; a cancellation does not stop it."""
        await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self.leave)))

    def _stop(self) -> bool:
        if self.state != "active":
            return False
        self.state = "leaving"
        self.events.emit(PoolStopping())
        self.dispatcher.close("the pool has ended while the task was waiting or running: its `with` block was left")
        return True

    def _release(self, state: str) -> None:
        """Close display, threads and sockets."""
        self.state = state
        for function in self._at_leave:
            function()
        self._loop.close()
        self._reactor.close()
        final = self._cost.final()
        self.events.emit(final)
        self.events.emit(ClusterDestroyed())
        self.events.close()
        self._display.stop()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        atexit.unregister(self.leave)
        self._sigterm.__exit__(None, None, None)


