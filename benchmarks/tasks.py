"""What the contenders run on their workers."""

from __future__ import annotations

import functools
import os
import time
from typing import Any


def nothing() -> None:
    """Do nothing."""


def back(value: Any) -> Any:
    """Give back what came."""
    return value


def compute(duration: float) -> None:
    """Keep a core busy for so many seconds of its time."""
    until = time.thread_time() + duration
    while time.thread_time() < until:
        pass


def process() -> int:
    """Say who runs this."""
    return os.getpid()


def size(array: Any) -> int:
    """Say how many bytes came."""
    return int(array.nbytes)


@functools.cache
def give(count: int) -> Any:
    """So many bytes as an array, made once in each process."""
    import numpy as np

    return np.zeros(count, dtype="uint8")
