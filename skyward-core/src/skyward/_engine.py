"""What runs behind a pool while its block is open: threads, road, dispatcher, display; and its orderly end."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import importlib
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skyward import _clock, _interrupts, _signals
from skyward._brief import briefly
from skyward._cost import CostMeter
from skyward._deadline_warning import DeadlineWarning
from skyward._deaths import DEADLINE
from skyward._display import make_display
from skyward._events import EventBus
from skyward._interrupts import shield
from skyward._teardown import shielded
from skyward._uncollected import uncollected
from skyward._waiting import wait_for
from skyward.errors import UsageError
from skyward.model.events import ClusterDestroyed, Error, PoolStopping

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._loop import LoopThread
    from skyward._node import Node
    from skyward._options import PoolOptions
    from skyward._reactor import Reactor
    from skyward._road import Road
    from skyward._signals import Ending
    from skyward.model.spec import ComputeSpec
    from skyward.spi.integration import Integration

__all__ = ["Engine"]

_log = logging.getLogger("skyward.pool")

_COST_EVERY = 30.0
_UNTIL_KNOWN = 0.5
"""Seconds between looks for the lease, which is known once the providers have been asked."""
_STATES = {"being entered": "is being entered", "leaving": "is ending", "ended": "has ended"}
"""How the states are put into sentences that begin with "this pool"; one that is missing reads well by itself."""


_FORKED = "belongs to another process"

_open: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork() -> None:
    """In a copy of the process: its pools are the other one's to use and to end."""
    for engine in list(_open):
        engine.state = _FORKED


os.register_at_fork(after_in_child=_after_fork)


class Engine:
    """The life of one pool: new, entering, active, leaving, left."""

    def __init__(self, options: PoolOptions) -> None:
        self.state = "new"
        self.events = EventBus()
        self.dispatcher: Dispatcher
        self._options = options
        self._made_loop: LoopThread | None = None
        self._made_reactor: Reactor | None = None
        self._made_road: Road | None = None
        self._clock = _clock.SYSTEM
        self._provisioning: concurrent.futures.Future[None] | None = None
        self._lock = threading.Lock()
        self._holding = False
        self._at_leave: list[Callable[[], None]] = []
        self._display = make_display(options.display)
        self._unsubscribe: list[Callable[[], None]] = []
        self._endings: list[Ending] = []

    # entering

    def enter(self) -> None:
        """Provision, and wait for it. An interrupt rolls back what was begun."""
        _interrupts.install()
        with shield:
            provisioning = self.begin()
            try:
                with shield.window():
                    importlib.import_module("skyward._calls")  # what the first task needs, while the machines start
                wait_for([provisioning])
                provisioning.result()
            except BaseException:
                self.abort()
                raise
            self.complete()

    async def aenter(self) -> None:
        """:meth:`enter` for coroutines."""
        _interrupts.install()
        with shield:
            self._claim()
        try:
            await shielded(asyncio.to_thread(self._begin))
            assert self._provisioning is not None
            await asyncio.wrap_future(self._provisioning)
        except BaseException:
            await self._ended(self.aborting())
            raise
        self.complete()

    def begin(self) -> concurrent.futures.Future[None]:
        """Start provisioning; `complete` or `abort` must follow."""
        self._claim()
        try:
            return self._begin()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Stop provisioning, wait until its roll-back is through, and let go of everything."""
        try:
            _signals.finish([self.aborting()], lambda: self.remaining)
        finally:
            self.let_go()

    def aborting(self) -> concurrent.futures.Future[None]:
        """Start what `abort` waits for; `let_go` must follow."""
        if self._provisioning is not None:
            self._provisioning.cancel()
        return self._in_background(self._abort, "skyward-abort")

    def _abort(self) -> None:
        try:
            if self._made_road is not None:
                self._loop.start(self._road.destroy()).result()
        finally:
            self._release("failed to start")

    def _claim(self) -> None:
        with self._lock:
            if self.state == "active":
                raise UsageError("this pool is entered already: dispatch to it, or make another sky.ComputePool(...)")
            if self.state != "new":
                now = _STATES.get(self.state, self.state)
                raise UsageError(f"this pool {now}, and a pool is entered once: make a new sky.ComputePool(...)")
            self.state = "being entered"
        self._clock = _clock.current()
        self._cost = CostMeter(self._clock.monotonic)
        _open.add(self)
        _interrupts.hold()
        self._holding = True
        atexit.register(self.leave)  # for a pool that is entered without a block

    @uncollected()
    def _begin(self) -> concurrent.futures.Future[None]:
        self.events.adopt()
        if self._options.on_event is not None:
            self._unsubscribe.append(self.events.subscribe(self._options.on_event))
        types = self._display.types
        if types:
            self._unsubscribe.append(self.events.subscribe(self._display.callback, types))
        from skyward import _plugins

        hooks = _plugins.hooks()
        self._unsubscribe += [self.events.subscribe(observer.callback) for observer in hooks.observers]
        self._display.start()
        from skyward._dispatcher import Dispatcher
        from skyward._loop import LoopThread
        from skyward._reactor import Reactor
        from skyward._road import Road

        self._made_loop = LoopThread("skyward-loop")
        self._made_reactor = Reactor("skyward-io")
        self.dispatcher = Dispatcher(self.events, self.reactor)
        self._made_road = Road(self._options, self.events, self.reactor, self.dispatcher, self._cost, hooks=hooks)
        self._keep_leases()
        self._provisioning = self._loop.start(briefly(self._road.provision()))
        return self._provisioning

    def complete(self) -> None:
        """The machines are there: take tasks."""
        self.state = "active"
        with self.dispatcher.lock:
            self.dispatcher.on_node_lost = self._node_lost
            lost = self._road.lost_early()
        for node, why in lost:
            if not self._node_lost(node, why):
                self.dispatcher.give_up(node.index)
        self._warning = DeadlineWarning(self._road, self._options, self._clock, self.events)
        self._every(_COST_EVERY, lambda: self.events.emit(self._cost.update()))
        self._every(1.0, self._warning.look)

    def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        def again() -> None:
            if self.state == "active":
                action()
                self.reactor.call_later(seconds, again)

        self.reactor.call_later(seconds, again)

    def _keep_leases(self) -> None:
        """Say a word to every node now and then, from the start on: the first ones wait until the last one is ready."""
        if self.state not in ("being entered", "active"):
            return
        lease = self._road.lease
        for node in list(self.dispatcher.nodes.values()):
            node.renew()
        if lease is not None or self.state == "being entered":
            self.reactor.call_later(_UNTIL_KNOWN if lease is None else lease / 4, self._keep_leases)

    @property
    def _loop(self) -> LoopThread:
        assert self._made_loop is not None
        return self._made_loop

    @property
    def reactor(self) -> Reactor:
        """The thread that waits on the pool's sockets."""
        assert self._made_reactor is not None
        return self._made_reactor

    @property
    def _road(self) -> Road:
        assert self._made_road is not None
        return self._made_road

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
    def spec(self) -> ComputeSpec:
        """What was asked for."""
        return self._options.spec

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
        if self.state == "new":
            raise UsageError(
                "this pool is not entered: write `with sky.ComputePool(...) as pool:` and dispatch inside that block"
            )
        if self.state == _FORKED:
            raise UsageError(
                f"this pool {_FORKED}, of which this one is a copy made by fork: dispatch there, or open a pool here"
            )
        if self.state == "being entered":
            raise UsageError("this pool has no machines yet: dispatch once its `with` block has been entered")
        now = _STATES.get(self.state, self.state)
        raise UsageError(
            f"this pool {now}, so it has no machines: dispatch inside its `with` block, or make a new pool"
        )

    def at_leave(self, function: Callable[[], None]) -> None:
        """Call ``function`` when the pool ends."""
        self._at_leave.append(function)

    def extend(self, seconds: float) -> None:
        """Move the deadline of every machine to ``seconds`` from now."""
        self.require_active()
        with shield:
            self._loop.run(self._road.extend(self._clock.time() + seconds))
        self._warning.extended(seconds)

    def _node_lost(self, node: Node, why: str) -> bool:
        """A machine is gone: buy another one, unless the pool's own time is over. True when one is on its way."""
        if self.state != "active":
            return False
        if why == DEADLINE:
            if self._made_loop is not None:
                self._made_loop.start(self._finish(node))
            return False
        self._loop.start(self._replace(node))
        return True

    async def _finish(self, node: Node) -> None:
        try:
            await self._road.finish(node)
        except Exception as error:  # noqa: BLE001  it is tried again when the pool ends
            _log.warning("%s has reached its deadline and is not proven to be gone: %s", node.instance.id, error)

    async def _replace(self, node: Node) -> None:
        try:
            await self._road.replace(node, lambda: None)
        except Exception as error:  # noqa: BLE001  the pool goes on with the machines that it has
            _log.error("node %d could not be replaced: %s", node.index, error)
            self.events.emit(Error(f"node {node.index} could not be replaced: {error}", node.instance.id))
            self.dispatcher.give_up(node.index)

    # leaving

    @property
    def remaining(self) -> list[str]:
        """Ids of the machines that have not been ended yet."""
        return [] if self._made_road is None else self._made_road.remaining

    def leave(self) -> None:
        """End every machine and wait for the proof. Interrupts are answered, and do not stop it."""
        with shield:
            if (ending := self.ending()) is None:
                return
            try:
                _signals.finish([ending], lambda: self.remaining)
            finally:
                self.let_go()

    async def aleave(self) -> None:
        """:meth:`leave` for coroutines; a cancellation does not stop it, and is raised afterwards."""
        ending = self.ending()
        if ending is not None:
            await self._ended(ending)

    def ending(self) -> concurrent.futures.Future[None] | None:
        """Start what `leave` waits for; ``None`` when there is nothing to end. `let_go` must follow."""
        return self._in_background(self._end, "skyward-leave") if self.is_active else None

    def _in_background(self, function: Callable[[], None], name: str) -> Ending:
        self._endings.append(_signals.in_background(function, name))
        return self._endings[-1]

    async def _ended(self, ending: concurrent.futures.Future[None]) -> None:
        async def wait() -> None:
            await asyncio.wrap_future(ending)

        try:
            await shielded(wait())
        finally:
            self.let_go()

    def let_go(self) -> None:
        """The end is through, or was given up: give SIGTERM back. To be called on the thread that entered."""
        for ending in self._endings:
            ending.leave()
        with self._lock:
            holding, self._holding = self._holding, False
        if holding:
            _interrupts.release()

    def _end(self) -> None:
        with self._lock:
            if self.state != "active":
                return  # another thread ends it
            self.state = "leaving"
        try:
            try:
                self.events.emit(PoolStopping())
                self.dispatcher.close(
                    "the pool has ended while the task was waiting or running: its `with` block was left"
                )
            finally:  # the machines go, whatever goes wrong before
                self._loop.start(self._road.destroy()).result()
        finally:
            self._release("ended")

    def _release(self, state: str) -> None:
        """Close display, threads and sockets; a step that fails does not keep the later ones from being done."""
        self.state = state
        with contextlib.ExitStack() as steps:  # done from the last one up
            steps.callback(atexit.unregister, self.leave)
            for unsubscribe in self._unsubscribe:
                steps.callback(unsubscribe)
            steps.callback(self._display.stop)
            steps.callback(self.events.close)
            steps.callback(self._say_last)
            if self._made_reactor is not None:
                steps.callback(self._made_reactor.close)
            if self._made_loop is not None:
                steps.callback(self._made_loop.close)
            for function in self._at_leave:
                steps.callback(function)

    def _say_last(self) -> None:
        self.events.emit(self._cost.final())
        self.events.emit(ClusterDestroyed())
