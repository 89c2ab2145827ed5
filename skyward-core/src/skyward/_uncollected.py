"""Loading much code without a search for garbage in the middle of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside the block no garbage is searched for; only for blocks that load modules, and take moments.

    What an import makes stays, and the many objects of it bring on a search of the whole process: 60 ms in a program
    that has imported scikit-learn, a quarter of what a pool takes until its first machine is started.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
