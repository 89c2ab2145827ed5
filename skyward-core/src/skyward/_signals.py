"""Ctrl-C and SIGTERM around a pool: its block is left in order, and its ending is not cut short."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

__all__ = ["finish", "hold", "in_background", "release"]

_lock = threading.Lock()
_pools = 0


def in_background(function: Callable[[], None], name: str) -> concurrent.futures.Future[None]:
    """Run ``function`` where no signal can interrupt it: on a thread, which the interpreter waits for at its end."""
    outcome: concurrent.futures.Future[None] = concurrent.futures.Future()

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  handed to whoever waits
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    try:
        threading.Thread(target=work, name=name).start()
    except RuntimeError:  # the interpreter is shutting down and starts none any more
        work()
    return outcome


def finish(endings: Sequence[concurrent.futures.Future[None]], remaining: Callable[[], list[str]]) -> None:
    """Wait for endings to be through. Each interrupt meanwhile is answered with what is still being removed.

    The last interrupt is raised once they are through, else the first error; further errors are notes of it.
    """
    interrupted: KeyboardInterrupt | SystemExit | None = None
    while True:
        try:
            concurrent.futures.wait(endings)
            break
        except (KeyboardInterrupt, SystemExit) as error:
            interrupted = error
            left = ", ".join(remaining()) or "the last connections"
            print(f"still removing {left}: please wait, or they would go on costing", file=sys.stderr)  # noqa: T201
    errors = [error for ending in endings if (error := ending.exception()) is not None]
    for other in errors[1:]:
        errors[0].add_note(f"and, from another pool: {type(other).__name__}: {other}")
    if interrupted is not None:
        raise interrupted from (errors[0] if errors else None)
    if errors:
        raise errors[0]


def hold() -> None:
    """While a pool is open, have SIGTERM end the program by ``SystemExit``, so that its blocks are left in order.

    ``release`` must follow. Does nothing where the program handles SIGTERM itself, or outside the main thread, which
    alone may install handlers.
    """
    global _pools
    with _lock:
        _pools += 1
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def release() -> None:
    """A pool is closed: with the last one SIGTERM means again what it meant before."""
    global _pools
    with _lock:
        _pools -= 1
    # Where the last pool is closed by another thread, the handler stays, and does what the system would have done.
    if not _pools and _in_main_thread() and signal.getsignal(signal.SIGTERM) is _leave:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    if _pools:
        raise SystemExit(128 + number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
