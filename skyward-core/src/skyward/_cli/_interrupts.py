"""Ctrl-C and SIGTERM while a command works: the first lets what has begun come to its end, the second does not wait."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator

__all__ = ["Interrupts"]


class Interrupts:
    """The signals that came, for the time of a block on a running event loop.

    Attributes:
        last: the number of the last signal; 0 for none.
    """

    def __init__(self) -> None:
        self.last = 0
        self._first: Callable[[], None] | None = None
        self._task: asyncio.Task[object] | None = None

    @contextlib.contextmanager
    def heard(self) -> Generator[None]:
        """Hear them. Off the main thread, where no signal arrives, it does nothing."""
        loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        heard: list[signal.Signals] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, self._came, number)
                heard.append(number)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    @contextlib.contextmanager
    def put_off(self, answer: Callable[[], None]) -> Generator[None]:
        """Inside, the first one calls ``answer``, and the next one cancels; outside each does."""
        self._first = answer
        try:
            yield
        finally:
            self._first = None

    def _came(self, number: signal.Signals) -> None:
        self.last = number
        if self._first is not None:
            answer, self._first = self._first, None
            answer()
        elif self._task is not None:
            self._task.cancel()
