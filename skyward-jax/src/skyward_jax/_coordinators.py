"""Coordinators of calls that failed: closed as soon as nobody can need them any more.

Closing one has XLA abort the processes that have not left it. These are about to be stopped, and may be in the middle
of leaving.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

__all__ = ["close", "close_later", "close_those_left"]

_STOPPED = 10.0
"""Seconds after which the other processes of a call that failed have left, or were killed: they are given 3."""

_left: list[Any] = []


def close(coordinator: Any) -> None:
    """End a coordinator; ``None`` where this process had none."""
    if coordinator is not None:
        with suppress(Exception):  # what it says of processes that never left
            coordinator.shutdown()


def close_later(coordinator: Any) -> None:
    """End a coordinator when the other processes of its call are gone; ``None`` where this process had none."""
    if coordinator is None:
        return
    _left.append(coordinator)
    timer = threading.Timer(_STOPPED, _close_left, (coordinator,))
    timer.daemon = True
    timer.start()


def close_those_left() -> None:
    """End all of them now: another call begins, and so those that they are of have ended everywhere."""
    for each in tuple(_left):
        _close_left(each)


def _close_left(coordinator: Any) -> None:
    with suppress(ValueError):  # it has been closed meanwhile, or is being closed by the other thread
        _left.remove(coordinator)
        close(coordinator)
