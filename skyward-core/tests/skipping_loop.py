"""An event loop whose clock the test sets: what waits for minutes is judged in milliseconds, to the second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["SkippingLoop", "does_skipping"]


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time stands still, except for what is skipped. Sockets are served as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    async def skip(self, seconds: float, step: float = 0.05) -> None:
        """Let so many seconds go by, in steps, with all that is due at each of them done."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + step, end)
            for _ in range(6):  # timers, the tasks that they wake, and what those do
                await asyncio.sleep(0)


def does_skipping[T](work: Callable[[SkippingLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in such a loop."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)
        return runner.run(work(loop))
