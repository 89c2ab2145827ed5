"""Interrupting a program on an event loop: at any one of its awaits it is cancelled, an exception comes, or it dies."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
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
        way: ``cancel`` cancels what the program is doing at large, ``raise`` throws `Thrown` into the very coroutine
            that would go on, ``die`` lets no coroutine of the program go on any more and ends the loop.
        at: when to do so, from 1.
    """

    def __init__(self, loop: VirtualLoop, way: Way = "nothing", at: int = 0) -> None:
        self.awaits = 0
        self.where = ""
        self._loop = loop
        self._way = way
        self._at = at
        self._at_large: asyncio.Task[Any] | None = None
        self._dead = False
        loop.set_task_factory(self._make_task)

    async def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T | BaseException:
        """Run a part of the program to its end; returns its result, or what it raised."""
        context = contextvars.copy_context()
        context.run(_of_the_program.set, True)
        self._at_large = self._loop.create_task(coroutine, context=context)
        await asyncio.wait([self._at_large])
        if self._at_large.cancelled():
            return asyncio.CancelledError()
        return self._at_large.exception() or self._at_large.result()

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        context = more.get("context")
        if _of_the_program.get() if context is None else context.get(_of_the_program, False):
            coroutine = _Watched(coroutine, self)
        return asyncio.Task(coroutine, loop=loop, **more)

    def goes_on(self, coroutine: Coroutine[Any, Any, Any], *, begun: bool) -> Any:
        """A coroutine is to go on. Returns what it is to wait for instead, or nothing."""
        if not self._dead:
            self.awaits += 1
            if self._at and self.awaits >= self._at:
                self._interrupt(coroutine, begun=begun)
        if not self._dead:
            return None
        never = self._loop.create_future()
        never._asyncio_future_blocking = True  # as a coroutine does that awaits it
        return never

    def _interrupt(self, coroutine: Coroutine[Any, Any, Any], *, begun: bool) -> None:
        if self._way == "raise" and not begun:
            return  # it awaits nothing yet: the next one, then
        self._at = 0
        self.where = _where(coroutine)
        if self._way == "raise":
            raise Thrown(f"at await {self.awaits}, {self.where}")
        if self._way == "cancel" and self._at_large is not None:
            self._at_large.cancel()
        if self._way == "die":
            self._dead = True
            self._loop.die_at(self._loop.steps + 1)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine of the program."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], interruptor: Interruptor) -> None:
        self._coroutine = coroutine
        self._interruptor = interruptor
        self._begun = False

    @override
    def send(self, value: Any, /) -> Any:
        return self._go_on(lambda: self._coroutine.send(value))

    @override
    def throw(self, *error: Any) -> Any:
        return self._go_on(lambda: self._coroutine.throw(*error))

    def _go_on(self, step: Any) -> Any:
        begun, self._begun = self._begun, True
        try:
            never = self._interruptor.goes_on(self._coroutine, begun=begun)
        except Thrown as thrown:
            return self._coroutine.throw(thrown)
        return step() if never is None else never

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
