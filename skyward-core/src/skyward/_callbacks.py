"""Callbacks that follow the code around them: ``compose``, ``use_callback`` and ``emit``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any

from skyward._current import current_pool
from skyward.errors import ConfigurationError
from skyward.model.events import EVENTS, SkywardEvent

if TYPE_CHECKING:
    from skyward._events import EventBus

__all__ = ["Callback", "Scope", "active_scopes", "callback_name", "checked", "compose", "emit", "use_callback"]

type Callback = Callable[[SkywardEvent], SkywardEvent | None]
"""Called with each event. ``None`` passes the event on unchanged, an event takes its place in a `compose` chain."""

_EVENT_SET: frozenset[type] = frozenset(EVENTS)


def callback_name(callback: Callable[..., Any]) -> str:
    """Name a callback for a person: ``module.qualname`` where it has one, else its repr."""
    name = getattr(callback, "__qualname__", None)
    if not isinstance(name, str):
        return repr(callback)
    module = getattr(callback, "__module__", None)
    return f"{module}.{name}" if module else name


def checked[C: Callable[..., Any]](callback: C) -> C:
    """Return ``callback`` if it can be called from the thread of a bus, else raise ConfigurationError."""
    if not callable(callback):
        raise ConfigurationError(f"a callback must be callable with one event, not {type(callback).__name__}")
    for function in (callback, type(callback).__call__):
        if iscoroutinefunction(function) or isasyncgenfunction(function) or isgeneratorfunction(function):
            raise ConfigurationError(
                f"calling the callback {callback_name(callback)} would not run it, because it is async or a "
                "generator: give a plain function. Into an event loop it can hand the event on with "
                "loop.call_soon_threadsafe(...)"
            )
    return callback


def compose(*callbacks: Callback) -> Callback:
    """Make one callback of several, called in the order given.

    An event that one returns is what those after it get, and what the whole returns; a value that is not an event
    counts as ``None``. One that raises does not keep the event from the others: the exception is raised at the end,
    several as an `ExceptionGroup`.
    """
    chain = tuple(checked(callback) for callback in callbacks)

    def composed(event: SkywardEvent) -> SkywardEvent | None:
        current = event
        raised: list[Exception] = []
        for callback in chain:
            try:
                answer = callback(current)
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)
            else:
                if answer is not None and type(answer) in _EVENT_SET:
                    current = answer
        if len(raised) == 1:
            raise raised[0]
        if raised:
            raise ExceptionGroup(f"{len(raised)} callbacks raised", raised)
        return None if current is event else current

    composed.__module__ = ""
    composed.__qualname__ = f"compose({', '.join(map(callback_name, chain))})"
    return composed


class Scope:
    """One open ``use_callback`` block: its callback and the buses that deliver to it."""

    __slots__ = ("_leave", "callback", "reported")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.reported = False
        self._leave: dict[EventBus, Callable[[], None]] = {}

    def join(self, bus: EventBus) -> None:
        """Let ``bus`` deliver to the callback until the block ends. A second time changes nothing."""
        if bus not in self._leave:
            self._leave[bus] = bus.subscribe(self.callback)

    def follows(self, bus: EventBus | None) -> bool:
        """Whether ``bus`` delivers to the callback."""
        return bus in self._leave

    def end(self) -> None:
        """Let every bus deliver what it holds, then leave it."""
        while self._leave:
            bus, leave = self._leave.popitem()
            bus.settle()
            leave()


_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("skyward_callbacks", default=())


def active_scopes() -> tuple[Scope, ...]:
    """The ``use_callback`` blocks around the caller, the outermost first. Empty in a new thread."""
    return _scopes.get()


@contextmanager
def use_callback(callback: Callback) -> Generator[None]:
    """Give ``callback`` the events of the code in the block.

    That is what pools entered inside it say, what the current pool says while the block is open, and what is passed
    to `emit`. Pools call it from a thread of theirs; `emit` outside any pool calls it at once.
    """
    scope = Scope(checked(callback))
    bus = _current_bus()
    if bus is not None:
        scope.join(bus)
    token = _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        try:
            _scopes.reset(token)
        except ValueError:  # left in another context than entered, as generators are
            _scopes.set(tuple(other for other in _scopes.get() if other is not scope))
        scope.end()


def emit(event: SkywardEvent) -> None:
    """Give ``event`` to the current pool's callbacks and to those of the `use_callback` blocks around the caller.

    In a task it also goes to the client, to the callbacks of the pool that runs the task. Where there are none it does
    nothing. A callback that raises is reported to the logger ``skyward``.
    """
    if type(event) not in _EVENT_SET:
        raise ConfigurationError(
            f"emit() takes an event such as sky.LogLine(...), not {type(event).__name__}; "
            "skyward.model.events lists the classes"
        )
    on_node = getattr(sys.modules.get("skyward.worker.context"), "emit", None)
    if on_node is not None:
        on_node(event)
    bus = _current_bus()
    if bus is not None:
        bus.emit(event)
    for scope in _scopes.get():
        if not scope.follows(bus):
            try:
                scope.callback(event)
            except Exception:
                if not scope.reported:
                    scope.reported = True
                    logging.getLogger("skyward").exception(
                        "the callback %s raised for a %s; further failures of it are not reported",
                        callback_name(scope.callback),
                        type(event).__name__,
                    )


def _current_bus() -> EventBus | None:
    bus: EventBus | None = getattr(current_pool(), "events", None)
    return bus
