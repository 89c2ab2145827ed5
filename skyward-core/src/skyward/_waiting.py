"""Waiting on the main thread, so that a signal which strikes there leaves nothing locked.

A `threading.Condition` is a Python object, and so are the events and futures that are made of it: a signal may strike
when one has been locked and before the block that would unlock it has begun. Then whoever is to be waited for waits for
that lock, for ever (https://github.com/python/cpython/issues/74174). Here nothing but locks of C are touched where a
signal may strike.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

from skyward._interrupts import shield

__all__ = ["AutoResetEvent", "acquire", "wait_for"]

_LOOK_UP = 0.2
"""Seconds after which a waiting caller looks for signals: one that struck just before the thread went to sleep, with
the interpreter's lock let go already, wakes nobody."""


class AutoResetEvent:
    """An event for one thread that waits: it is over for the next time as soon as that one has seen it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake whoever waits, or will."""
        if self._lock.locked():
            with contextlib.suppress(RuntimeError):  # set by another thread meanwhile
                self._lock.release()

    def clear(self) -> None:
        """Take it back."""
        self._lock.acquire(blocking=False)

    def wait(self, timeout: float = -1) -> bool:
        """Wait for it, for ``timeout`` seconds at most if given; whether it came. It is taken back with that."""
        return self._lock.acquire(timeout=timeout)


def acquire(lock: _thread.LockType) -> None:
    """Acquire a lock, however long it takes, and look for signals meanwhile."""
    while not lock.acquire(timeout=_LOOK_UP):
        pass


def wait_for(futures: Collection[Future[Any]], *, or_a_failure: bool = False) -> None:
    """Wait until all are done, or with ``or_a_failure`` until one of them has failed or was cancelled.

    To be called inside the shield, which is opened for the waiting alone. In what order they end is not told.
    """
    over = _thread.allocate_lock()
    over.acquire()
    ended: list[Future[Any]] = []

    def end(future: Future[Any]) -> None:
        ended.append(future)
        if len(ended) == len(futures) or (or_a_failure and (future.cancelled() or future.exception() is not None)):
            with contextlib.suppress(RuntimeError):  # by another one of them already
                over.release()

    for future in futures:
        future.add_done_callback(end)
    if futures:
        with shield.window():
            acquire(over)
