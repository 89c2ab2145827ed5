"""The clock of a pool: the system's, or the one that a test puts in its place.

It counts what the client itself reckons with: the pool's deadline and its costs. A pool reads the clock that is in use
when it is entered, and keeps it until it has ended. Leases, time-outs and retries go by the event loop's time, and a
node counts for itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Protocol

__all__ = ["SYSTEM", "Clock", "current", "use"]


class Clock(Protocol):
    """What tells the time."""

    def monotonic(self) -> float:
        """Seconds from some moment, never falling."""
        ...

    def time(self) -> float:
        """Seconds since the epoch."""
        ...


class _System:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


SYSTEM: Clock = _System()
_in_use: list[tuple[object, Clock]] = [(None, SYSTEM)]  # of the whole process: pools are entered on any thread


def current() -> Clock:
    """The clock that pools read which are entered now."""
    return _in_use[-1][1]


@contextlib.contextmanager
def use(clock: Clock) -> Generator[None]:
    """Inside, pools that are entered read this clock, on whatever thread. Blocks may end in any order."""
    mine = (object(), clock)
    _in_use.append(mine)
    try:
        yield
    finally:
        _in_use.remove(mine)
