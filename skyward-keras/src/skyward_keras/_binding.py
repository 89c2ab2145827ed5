"""What a slot's process is bound to by Keras: the backend with which it was imported, once and for all."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["bound_to", "imported_with"]


_CONFIGURATIONS = ("keras.src.backend.config", "keras.config")
"""Modules that know the backend: the first settles it when Keras begins to be imported, and stays where that fails."""


def imported_with() -> str | None:
    """The backend of the Keras that this process has imported, if only in part; ``None`` if it has none yet."""
    for name in _CONFIGURATIONS:
        found: Any = getattr(sys.modules.get(name), "backend", None)
        if found is not None:
            return str(found())
    return None


def bound_to(backend: str, _size: int) -> str | None:
    """For core, see ``bound_to`` of functions that run together: a process with another backend has to be renewed."""
    return "" if imported_with() in {None, backend} else None
