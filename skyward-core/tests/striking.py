"""Ctrl-C at any one point of what the main thread does at which Python looks for signals."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from skyward import _interrupts

_TOOL = 4
"""One of those that https://docs.python.org/3/library/sys.monitoring.html leaves to everybody."""


@contextmanager
def guarded() -> Iterator[None]:
    """With the handlers in place that an open pool has."""
    _interrupts.install()
    _interrupts.hold()
    try:
        yield
    finally:
        _interrupts.release()


def is_finalising() -> bool:
    """Whether an object is being freed: out of that Python lets no exception, not even ``KeyboardInterrupt``."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def strike(at: int, action: Callable[[], object], *, within: str = "") -> bool | None:
    """Do ``action`` and interrupt it at the point with this number, of code whose file's path has ``within``.

    Those points are where a function begins, where one that is written in C has returned, and where a loop goes on:
    the instructions that CPython lists as looking for signals.

    Returns whether ``KeyboardInterrupt`` came out of it; ``None`` if it had ended before.
    """
    events = sys.monitoring.events
    main = threading.get_ident()
    left, struck = at, False

    def reached(code: CodeType, *_: object) -> None:
        nonlocal left, struck
        if left >= 0 and within in code.co_filename and threading.get_ident() == main and not is_finalising():
            left -= 1
            if left < 0:
                struck = True
                handler: Any = signal.getsignal(signal.SIGINT)
                handler(signal.SIGINT, sys._getframe(1))  # as Python calls it

    def jumped(code: CodeType, offset: int, to: int) -> None:
        if to < offset:  # a loop goes on
            reached(code)

    heard: dict[int, Any] = {
        events.PY_START: reached,
        events.C_RETURN: reached,
        events.CALL: lambda *_: None,
        events.JUMP: jumped,
    }
    sys.monitoring.use_tool_id(_TOOL, "strike")
    for event, call in heard.items():
        sys.monitoring.register_callback(_TOOL, event, call)
    try:
        sys.monitoring.set_events(_TOOL, events.PY_START | events.CALL | events.JUMP)
        action()
    except KeyboardInterrupt:
        return True
    finally:
        left = -1
        sys.monitoring.set_events(_TOOL, 0)
        sys.monitoring.free_tool_id(_TOOL)
    return False if struck else None
