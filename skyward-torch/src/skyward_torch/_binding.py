"""Whether a group of torch's can begin in a process, as core asks in the slot before one does. Imports no torch."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["bound_to", "counted"]


def bound_to(_size: int) -> str | None:
    """``""`` where any group can begin, ``None`` where one was left behind: then a new process is needed.

    A function that made one by itself can have left it, or an operation that never ended. Nor can one begin where the
    making of one has failed half-way: torch counts it all the same, names the next one by that count, and ranks whose
    counts differ wait for each other under different names until their time limit.
    """
    dist = sys.modules.get("torch.distributed")
    is_initialized = getattr(dist, "is_initialized", None)  # nothing of it as long as it is being imported
    if is_initialized is None:
        return ""
    return None if is_initialized() or counted(dist) else ""


def counted(dist: Any) -> int:
    """The process groups that torch has counted since there was none; 0 where this version does not tell."""
    world = getattr(getattr(dist, "distributed_c10d", None), "_world", None)
    return int(getattr(world, "group_count", 0))
