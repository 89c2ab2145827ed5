"""What the contenders run on their workers."""

from __future__ import annotations

import functools
import os
from typing import Any


def nothing() -> None:
    """Do nothing."""


def back(value: Any) -> Any:
    """Give back what came."""
    return value


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
