"""What runs in a slot: one batch of calls, under the limits that nested parallelism has there.

Imported by the nodes, so nothing here takes time to import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skyward_sklearn import _threads

if TYPE_CHECKING:
    from skyward_sklearn._versions import Versions

__all__ = ["NAME", "Batch"]

NAME = "skyward"
"""The backend's name, here and on the client."""

type Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]


class Batch:
    """Runs calls one after another; the function that is sent to the slots.

    ``name`` is what it is called in events and messages: the name of the user's function. ``limits`` are in force as
    soon as it arrives, which is before the arguments of a batch are unpickled and import what they need.
    """

    def __init__(self, name: str, limits: _threads.Limits) -> None:
        self.__name__ = name
        self._limits = limits

    def __reduce__(self) -> tuple[object, tuple[str, _threads.Limits]]:
        return _arrived, (self.__name__, self._limits)

    def __call__(self, versions: Versions, level: int, calls: Sequence[Call]) -> tuple[float, list[Any]]:
        """The seconds that the calls took together, and their results in order.

        ``versions`` has refused other versions by having been unpickled. ``level`` is the nesting level of a
        ``Parallel`` that a call starts: 1 gives it threads of this slot, more runs it sequentially.
        """
        from joblib import parallel_config

        _threads.limit(self._limits)
        _register()
        begun = time.perf_counter()
        with parallel_config(backend=_nested(level)):
            results = [getattr(call, "__skyward_local__", call)(*args, **kwargs) for call, args, kwargs in calls]
        return time.perf_counter() - begun, results


def _arrived(name: str, limits: _threads.Limits) -> Batch:
    _threads.limit(limits)
    return Batch(name, limits)


def _nested(nesting_level: int | None = None, **_options: object) -> Any:
    """The backend of a ``Parallel`` inside a task: joblib's threads, and below these none."""
    from joblib._parallel_backends import SequentialBackend
    from joblib.parallel import ThreadingBackend

    level = 1 if nesting_level is None else nesting_level
    return (ThreadingBackend if level <= 1 else SequentialBackend)(nesting_level=level)


def _register() -> None:
    """Have ``backend="skyward"`` inside a task mean what a ``Parallel`` without a backend means there."""
    from joblib.parallel import BACKENDS, register_parallel_backend

    if NAME not in BACKENDS:
        register_parallel_backend(NAME, _nested)
