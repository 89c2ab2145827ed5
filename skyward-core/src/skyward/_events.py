"""The road of events from a pool to whoever listens.

A pool has one `EventBus`. Whoever has something to say calls `EventBus.emit` from any thread; a daemon thread of the
bus calls the subscribers in the order of the events, so that no callback can delay a task or break the pool. Callers
on a hot path ask `EventBus.wants`, or look into `EventBus.wanted`, before they build an event.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Collection
from difflib import get_close_matches
from queue import SimpleQueue
from weakref import WeakSet

from skyward._callbacks import Callback, active_scopes, callback_name, checked, compose, emit, use_callback
from skyward._interrupts import shield
from skyward.errors import ConfigurationError
from skyward.model.events import EVENTS, LogLine, Metrics, SkywardEvent

__all__ = ["Callback", "EventBus", "compose", "emit", "use_callback"]

_log = logging.getLogger("skyward")

BACKLOG = 100_000
"""So many events may wait for slow callbacks; beyond it those of `_PLENTIFUL` classes are dropped and counted."""

PATIENCE = 0.25
"""Seconds that the end of a call waits, at most, until what was said before it has been delivered."""

_PLENTIFUL: frozenset[type] = frozenset({LogLine, Metrics})


class _Subscription:
    __slots__ = ("callback", "failures", "types")

    def __init__(self, callback: Callback, types: frozenset[type] | None) -> None:
        self.callback = callback
        self.types = types
        self.failures = 0

    def deliver(self, event: SkywardEvent) -> None:
        try:
            self.callback(event)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in it must not end the thread of the bus either
            self.failures += 1
            if self.failures == 1:
                _log.error(
                    "the callback %s raised for a %s; further failures of it are only counted",
                    callback_name(self.callback),
                    type(event).__name__,
                    exc_info=error,
                )

    def report(self) -> None:
        """Log how often the callback failed beyond the first time, once."""
        again = self.failures - 1
        if again > 0:
            self.failures = 1
            _log.error("the callback %s raised %d more times", callback_name(self.callback), again)


type _Routes = dict[type, tuple[_Subscription, ...]]
type _Item = SkywardEvent | threading.Event | None  # an event, a mark of settle(), or the end


class EventBus:
    """Delivers the events of one pool. Every method may be called from any thread, also from a callback.

    The thread starts with the first event that somebody wants. In a child made by `os.fork` the bus is silent: the
    pool belongs to the parent.
    """

    def __init__(self) -> None:
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._routes: _Routes = {}
        # What emit() asks, and others on a hot path. It is `_routes` until the bus is closed, and empty from then on.
        self.wanted: Collection[type] = self._routes
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._unsettled = False
        self._mark = threading.Event()
        self._mark.set()
        self._late = self._mark  # the last mark that was waited for in vain
        self._dropped = 0
        self._busy: _Subscription | None = None

    def wants(self, event_class: type) -> bool:
        """Whether anybody listens to events of this class."""
        return event_class in self.wanted

    def emit(self, event: SkywardEvent) -> None:
        """Have ``event`` delivered. Returns at once; does nothing if nobody wants it or the bus is closed."""
        kind = type(event)
        if kind not in self.wanted:
            return
        if self._thread is None and not self._start():
            self._deliver(event)
            return
        if self._queue.qsize() >= BACKLOG and kind in _PLENTIFUL:
            self._dropped += 1
            return
        self._queue.put(event)
        self._unsettled = True  # after the put: settle() clears it before it puts its mark

    def subscribe(self, callback: Callback, types: tuple[type, ...] | None = None) -> Callable[[], None]:
        """Call ``callback`` with every event emitted from now on, or with those of ``types`` only.

        Returns a function that ends it at once. The same callback may be subscribed several times. Raises
        ConfigurationError if ``callback`` is not a plain callable or ``types`` holds anything but event classes.
        """
        subscription = _Subscription(checked(callback), None if types is None else _event_classes(types))
        with self._lock:
            self._route((*self._subscriptions, subscription))

        def unsubscribe() -> None:
            with self._lock:
                self._route(tuple(other for other in self._subscriptions if other is not subscription))
            subscription.report()

        return unsubscribe

    def adopt(self) -> None:
        """Deliver also to the callbacks of the `use_callback` blocks around the caller, until those end."""
        for scope in active_scopes():
            scope.join(self)

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until all that was emitted before has been delivered, for ``timeout`` seconds at most, or `PATIENCE`.

        Returns whether it has been. Does nothing when called from a callback. Once `PATIENCE` was in vain, nobody waits
        again before the callbacks have caught up: one that is slow costs one call a moment, and not each of them.
        """
        if self._thread is None or (not self._unsettled and self._mark.is_set()):
            return True
        if threading.current_thread() is self._thread:
            return False
        with self._lock:
            if self._unsettled and not self._closed:
                self._mark = threading.Event()
                self._unsettled = False
                self._queue.put(self._mark)
            mark = self._mark
            if timeout is None and not self._late.is_set():
                return False
        with shield:  # no longer than that: an event that a signal leaves locked would hold up all that follow
            if mark.wait(PATIENCE if timeout is None else timeout):
                return True
        if timeout is None:
            self._late = mark
        return False

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what was emitted before, then end the thread. A second time changes nothing.

        Waits ``timeout`` seconds at most and names the callback that has not returned by then. Called from a
        callback it does not wait: the thread ends itself once the callback has returned.
        """
        with self._lock:
            self.wanted = {}
            thread = self._thread
            if not self._closed:
                self._closed = True
                self._queue.put(None)
                if thread is None:
                    self._report()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():
            busy = self._busy
            _log.warning(
                "the callback %s has not returned after %g s: the events behind it are not waited for",
                callback_name(busy.callback) if busy else "of an event",
                timeout,
            )

    def abandon(self) -> None:
        """Be silent from now on, without touching what other threads may hold: for a forked child, which lacks them."""
        self._reset()
        self._closed = True
        self.wanted = {}

    def _route(self, subscriptions: tuple[_Subscription, ...]) -> None:
        self._subscriptions = subscriptions
        routes: _Routes = {}
        for kind in EVENTS:
            takers = tuple(taker for taker in subscriptions if taker.types is None or kind in taker.types)
            if takers:
                routes[kind] = takers
        self._routes = routes
        if not self._closed:
            self.wanted = routes

    def _start(self) -> bool:
        """Start the thread; false where Python is about to end and starts none any more."""
        with shield, self._lock:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._work, name="skyward-events", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
                _running.add(self)
        return True

    def _work(self) -> None:
        queue = self._queue
        while (item := queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._deliver(item)
                if self._dropped:
                    self._say_dropped()
        self._unsettled = False
        self._mark.set()
        _running.discard(self)
        self._report()

    def _deliver(self, event: SkywardEvent) -> None:
        for subscription in self._routes.get(type(event), ()):
            self._busy = subscription
            subscription.deliver(event)
        self._busy = None

    def _say_dropped(self) -> None:
        if self._queue.qsize() < BACKLOG // 2:
            dropped, self._dropped = self._dropped, 0
            _log.warning("%d log lines and metrics were dropped: the callbacks are too slow for them", dropped)

    def _report(self) -> None:
        for subscription in self._subscriptions:
            subscription.report()


def _event_classes(types: tuple[type, ...]) -> frozenset[type]:
    for kind in types:
        if kind not in EVENTS:
            name = getattr(kind, "__name__", None) or repr(kind)
            near = get_close_matches(name, [known.__name__ for known in EVENTS], n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "skyward.model.events lists the classes"
            raise ConfigurationError(f"{name} is not an event class: {hint}")
    return frozenset(types)


_running: WeakSet[EventBus] = WeakSet()


def _at_exit() -> None:
    # A daemon thread that still writes while Python tears itself down can abort the process.
    for bus in list(_running):
        bus.close()


def _after_fork() -> None:
    for bus in list(_running):
        bus.abandon()
    _running.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
