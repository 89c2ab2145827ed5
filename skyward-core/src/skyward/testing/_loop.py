"""An event loop on which an hour is over at once, which can be interrupted at any step, and which can die."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import functools
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from skyward import _clock
from skyward.testing._clock import VirtualClock

__all__ = ["ClientDied", "VirtualLoop", "run", "running_clock", "virtually"]

_PATIENCE = 14 * 24 * 3600.0
"""Virtual seconds after which a loop takes it that what its program waits for will never come."""


class ClientDied(BaseException):
    """The program on a loop has ended as by SIGKILL: nothing of it was cancelled or cleaned up."""


class _Selector(selectors.DefaultSelector):
    """Never waits: what would be a wait moves the clock forward instead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._limit = clock.monotonic() + _PATIENCE

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None and self._clock.next_alarm is None:
            raise AssertionError("everything waits for something that will never come")
        if self._clock.step(math.inf if timeout is None else self._clock.monotonic() + timeout) > self._limit:
            raise AssertionError(f"nothing that was waited for has come in {_PATIENCE / 86400:g} days")
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of a `VirtualClock`, which it moves on when it has nothing to do.

    ``steps`` counts the rounds of the loop, and ``at_step`` says what is to be done at the beginning of one.

    Args:
        clock: its clock; by default a new one.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = VirtualClock() if clock is None else clock
        super().__init__(_Selector(self.clock))
        self.steps = 0
        self.at_step: dict[int, Callable[[], object]] = {}

    def time(self) -> float:
        """The clock's ``monotonic()``."""
        return self.clock.monotonic()

    def die_at(self, step: int) -> None:
        """End the program at a step as if its process were killed: `run` raises `ClientDied`."""

        def die() -> None:
            raise ClientDied(f"at step {step}")

        self.at_step[step] = die

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps in self.at_step:
            self.at_step.pop(self.steps)()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, the same in every version so far

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """At once and on this thread: a thread would need real time."""
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  whoever awaits it gets it
            done.set_exception(error)
        return done


def running_clock() -> VirtualClock | None:
    """The clock of the virtual loop that runs on this thread; ``None`` on any other loop, and without one."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop.clock if isinstance(loop, VirtualLoop) else None


def run[T](main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run to the end on virtual time, with the loop's clock in use for whatever reads a pool's clock.

    Raises:
        AssertionError: everything waits for something that will never come.
        ClientDied: the loop was told to die. Its tasks are neither cancelled nor ever cleaned up.
    """
    chosen = VirtualLoop() if loop is None else loop
    runner = asyncio.Runner(loop_factory=lambda: chosen)
    with _clock.use(chosen.clock):
        try:
            return runner.run(main, context=contextvars.copy_context())
        except ClientDied:
            _bury(chosen)
            raise
        finally:
            if not chosen.is_closed():
                runner.close()


def _bury(loop: VirtualLoop) -> None:
    """Close a loop whose program was killed, and keep what was running on it for ever: collecting it would run it on.

    A coroutine that is collected runs its ``finally`` blocks, which is what a process that was killed does not do.
    """
    tasks = list(asyncio.all_tasks(loop))
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own way to say that this is meant
    waiting: list[object] = [*loop._ready, *loop._scheduled]  # type: ignore[attr-defined]  # may hold coroutines too
    ctypes.pythonapi.Py_IncRef(ctypes.py_object((tasks, waiting)))
    loop.close()


def virtually[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on virtual time."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapped
