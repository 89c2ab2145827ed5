"""Waiting for the pool's loop in a way that Ctrl-C and SIGTERM can interrupt, and finishing in a way that they cannot."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["finish", "terminable"]


def finish[T](future: concurrent.futures.Future[T], remaining: Callable[[], list[str]]) -> T:
    """Wait for an ending to be through. Each interrupt meanwhile is answered with what is still being removed.

    The last interrupt is raised once it is through.
    """
    interrupted: KeyboardInterrupt | SystemExit | None = None
    while True:
        try:
            result = future.result()
            break
        except (KeyboardInterrupt, SystemExit) as error:
            interrupted = error
            left = ", ".join(remaining()) or "the last connections"
            print(f"still removing {left}: please wait, or they would go on costing", file=sys.stderr)  # noqa: T201
    if interrupted is not None:
        raise interrupted
    return result


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM ends the program by ``SystemExit``, so that its blocks are left in order and machines ended.

    Does nothing outside the main thread, or where the program handles SIGTERM itself.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
