"""Waking the main thread for a signal that came just before it began to wait.

Python runs a signal's handler in the main thread between two bytecodes. A signal that strikes in the moment between the
last bytecode and the system call that waits is noted, and the handler runs only once that call returns, which may be
never. While a pool is open, each signal that is waited for is followed by a harmless one that interrupts the wait.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Collection
from itertools import accumulate

__all__ = ["forget", "start", "stop"]

_NUDGE = signal.SIGURG
"""Ignored where nobody asks for it, and hardly anybody does."""
_AFTER = (0.0, 0.01, 0.1, 1.0, 10.0)
"""Seconds to wait before each nudge: the main thread may be kept for a while from beginning to wait."""

_pipe: tuple[int, int] | None = None
_thread: threading.Thread | None = None


def start(numbers: Collection[int]) -> None:
    """Begin, for these signals, unless the program uses the means for purposes of its own. Main thread only."""
    global _pipe, _thread
    if _pipe is not None or signal.getsignal(_NUDGE) != signal.SIG_DFL:
        return
    known = signal.set_wakeup_fd(-1)
    if known != -1:
        signal.set_wakeup_fd(known, warn_on_full_buffer=False)
        return
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
    signal.signal(_NUDGE, _nothing)
    _thread = threading.Thread(target=_watch, args=(_pipe[0], frozenset(numbers)), name="skyward-signals", daemon=True)
    _thread.start()


def stop() -> None:
    """Put everything back. Main thread only."""
    write = _let_go()
    if write is not None:
        os.close(write)  # the watching thread sees the end, and closes its own
        if _thread is not None:
            _thread.join()


def forget() -> None:
    """In a forked copy of the process, which has none of its threads, do the same."""
    global _thread
    _thread = None
    read = None if _pipe is None else _pipe[0]
    stop()
    if read is not None:
        os.close(read)


def _let_go() -> int | None:
    global _pipe
    if _pipe is None:
        return None
    write, _pipe = _pipe[1], None
    now = signal.set_wakeup_fd(-1)
    if now not in (-1, write):
        signal.set_wakeup_fd(now, warn_on_full_buffer=False)
    if signal.getsignal(_NUDGE) is _nothing:
        signal.signal(_NUDGE, signal.SIG_DFL)
    return write


def _nothing(_number: int, _frame: object) -> None:
    """Handle a nudge: what it is for has happened when this is called."""


def _watch(read: int, watched: frozenset[int]) -> None:
    main = threading.main_thread().ident
    assert main is not None
    due: list[float] = []
    with os.fdopen(read, "rb", buffering=0) as pipe:
        signals = select.poll()
        signals.register(pipe, select.POLLIN)
        while True:
            wait = max(due[0] - time.monotonic(), 0.0) * 1000 if due else None
            if signals.poll(wait):
                numbers = pipe.read(64)
                if not numbers:
                    return
                if not watched.isdisjoint(numbers):  # else it is a nudge, or nothing to us
                    due = [time.monotonic() + seconds for seconds in accumulate(_AFTER)]
            else:
                del due[0]
                signal.pthread_kill(main, _NUDGE)
