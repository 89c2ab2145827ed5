"""A clock that hurries: what a vendor's client waits for on it is over at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator

from skyward import _clock

__all__ = ["HurriedClock", "hurried"]


class HurriedClock:
    """The system's clock, which skips pauses: whoever sleeps on it is awake at once, and it is as late as it would be.

    So the pace that a vendor wants, its ``Retry-After`` and the pauses between attempts can be tested against a real
    server. It may be read by any thread.
    """

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        """Seconds from some moment."""
        return time.monotonic() + self._skipped

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._skipped

    async def sleep(self, seconds: float) -> None:
        """Let others go on, and be later."""
        end = self.monotonic() + seconds
        await asyncio.sleep(0)
        self._skipped += max(end - self.monotonic(), 0.0)


@contextlib.contextmanager
def hurried() -> Generator[HurriedClock]:
    """Inside, clients of vendors that are made, and pools that are entered, read such a clock."""
    clock = HurriedClock()
    with _clock.use(clock):
        yield clock
