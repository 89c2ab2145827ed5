"""Interrupting a program on an event loop: at any one of its awaits it is cancelled, an exception comes, or it dies."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Literal, override

from skyward.testing._loop import VirtualLoop

__all__ = ["Interruptor", "Thrown", "Way"]

type Way = Literal["nothing", "cancel", "raise", "die"]

_of_the_program = contextvars.ContextVar("_of_the_program", default=False)


class Thrown(Exception):
    """What no program reckons with."""


class Interruptor:
    """Counts each time that a coroutine of the program goes on, in whatever task, and interrupts it at one of them.

    Args:
        loop: the loop on which the program runs; coroutines that are not the program's may run there as well.
        way: ``cancel`` cancels what the program is doing at large, and does ``also``; ``raise`` throws `Thrown` into
            the very coroutine, at what it awaits next; ``die`` lets no coroutine of the program go on any more and ends
            the loop.
        at: when to do so, from 1.
    """

    def __init__(self, loop: VirtualLoop, way: Way = "nothing", at: int = 0) -> None:
        self.awaits = 0
        self.also: Callable[[], object] = lambda: None
        self.where = ""
        self._loop = loop
        self._way = way
        self._at = at
        self._at_large: asyncio.Task[Any] | None = None
        self._dead = False
        loop.set_task_factory(self._make_task)

    async def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T | BaseException:
        """Run a part of the program to its end; returns its result, or what it raised."""
        self._at_large = task = self.start(coroutine)
        await asyncio.wait([task])
        if task.cancelled():
            return asyncio.CancelledError()
        return task.exception() or task.result()

    def start[T](self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start another part of the program."""
        context = contextvars.copy_context()
        context.run(_of_the_program.set, True)
        return self._loop.create_task(coroutine, context=context)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        context = more.get("context")
        if _of_the_program.get() if context is None else context.get(_of_the_program, False):
            coroutine = _Watched(coroutine, self)
        return asyncio.Task(coroutine, loop=loop, **more)

    def goes_on(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Whether a coroutine that is to go on may."""
        if not self._dead:
            self.awaits += 1
            if self._way != "raise" and self.awaits == self._at:
                self._interrupt(coroutine)
        return not self._dead

    def throws(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Whether `Thrown` comes to a coroutine at what it awaits now."""
        if self._way != "raise" or not self._at or self.awaits < self._at:
            return False
        self._interrupt(coroutine)
        return True

    def never(self) -> asyncio.Future[Any]:
        """What a coroutine awaits that is not to go on any more."""
        never = self._loop.create_future()
        never._asyncio_future_blocking = True  # as a coroutine does that awaits it
        return never

    def _interrupt(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._at = 0
        self.where = _where(coroutine)
        if self._way == "cancel" and self._at_large is not None:
            self._at_large.cancel()
            self.also()
        if self._way == "die":
            self._dead = True
            self._loop.die_at(self._loop.steps + 1)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine of the program."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], interruptor: Interruptor) -> None:
        self._coroutine = coroutine
        self._interruptor = interruptor
        self._thrown: Thrown | None = None

    @override
    def send(self, value: Any, /) -> Any:
        return self._go_on(lambda: self._coroutine.send(value))

    @override
    def throw(self, *error: Any) -> Any:
        return self._go_on(lambda: self._coroutine.throw(*error))

    def _go_on(self, step: Callable[[], Any]) -> Any:
        if not self._interruptor.goes_on(self._coroutine):
            return self._interruptor.never()
        thrown, self._thrown = self._thrown, None
        awaited = step() if thrown is None else self._coroutine.throw(thrown)
        if self._interruptor.throws(self._coroutine):
            self._thrown = Thrown(f"at await {self._interruptor.awaits}")
            return None  # which has the task go on at once, whatever it awaits
        return awaited

    @override
    def close(self) -> None:
        self._coroutine.close()

    @override
    def __await__(self) -> Any:
        return self._coroutine.__await__()


def _where(coroutine: Any) -> str:
    """The functions that await each other down to where a coroutine stands."""
    names: list[str] = []
    while coroutine is not None:
        names.append(getattr(coroutine, "__qualname__", type(coroutine).__name__))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return " > ".join(names)
