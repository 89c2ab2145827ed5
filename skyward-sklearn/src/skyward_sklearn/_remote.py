"""What runs in a slot: one batch of calls, under the limits that nested parallelism has there.

Imported by the nodes, so nothing here takes time to import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward_sklearn import _threads

if TYPE_CHECKING:
    from skyward_sklearn._versions import Versions

__all__ = ["NAME", "Batch", "Call", "Initializer", "Ran", "Setting"]

NAME = "skyward"
"""The backend's name, here and on the client."""

type Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""A function, its arguments and its keyword arguments."""
type Ran = tuple[float, float | None, list[Any]]
"""The seconds that a batch took, those that its slot had nothing to do since its last batch of the same sender
(``None`` when this is the first one), and the results in order."""


@frozen
class Initializer:
    """A function that a slot's process calls once: ``token`` tells whether it has."""

    token: bytes
    function: Callable[..., object]
    args: tuple[object, ...]

    @classmethod
    def of(cls, function: Callable[..., object] | None, args: Sequence[object] = ()) -> Initializer | None:
        """The same token for what pickles to the same; ``None`` for no function."""
        if function is None:
            return None
        import cloudpickle

        return cls(blake2b(cloudpickle.dumps((function, args)), digest_size=16).digest(), function, tuple(args))


@frozen
class Setting:
    """What is the same for all batches of a ``Parallel``.

    ``level`` is the nesting level of a ``Parallel`` inside of it: 1 has threads of the slot, above that it runs its
    calls one after another.
    """

    level: int
    limits: _threads.Limits
    initializer: Initializer | None = None


class Batch:
    """Runs calls one after another; the function that is sent to the slots.

    ``name`` is what it is called in events and messages: the name of the user's function. The limits of ``setting``
    are in force as soon as it arrives, before the arguments of a batch are unpickled and import what they need.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.__name__ = name
        self._setting = setting

    def __reduce__(self) -> tuple[object, tuple[str, Setting]]:
        return _arrived, (self.__name__, self._setting)

    def __call__(self, versions: Versions, sender: int, calls: Sequence[Call]) -> Ran:
        """Run the calls of a batch of a sender, of which this slot may have had others.

        ``versions`` has refused other versions by having been unpickled.
        """
        global _latest
        begun = time.perf_counter()
        pause = begun - _latest[1] if _latest[0] == sender else None
        _threads.limit(self._setting.limits)
        with _nested_config(self._setting.level):
            _initialize(self._setting.initializer)
            results = [getattr(call, "__skyward_local__", call)(*args, **kwargs) for call, args, kwargs in calls]
        ended = time.perf_counter()
        _latest = sender, ended
        return ended - begun, pause, results


def _arrived(name: str, setting: Setting) -> Batch:
    _threads.limit(setting.limits)
    return Batch(name, setting)


_latest = (0, 0.0)
"""Whose batch this slot ran last, and when that ended."""
_initialized: set[bytes] = set()


def _initialize(initializer: Initializer | None) -> None:
    if initializer is not None and initializer.token not in _initialized:
        initializer.function(*initializer.args)
        _initialized.add(initializer.token)


def _nested_config(level: int) -> AbstractContextManager[object]:
    """What a ``Parallel`` finds inside a task: joblib's threads as its backend, and below these none."""
    from joblib import parallel_config
    from joblib.parallel import BACKENDS, register_parallel_backend

    if NAME not in BACKENDS:  # of this backend, named in a task, becomes the same
        register_parallel_backend(NAME, _nested)
    return parallel_config(backend=_nested(level))  # type: ignore[no-any-return]  # joblib has no types


def _nested(nesting_level: int | None = None, **_options: object) -> Any:
    from joblib.parallel import SequentialBackend, ThreadingBackend

    level = 1 if nesting_level is None else nesting_level
    return (ThreadingBackend if level <= 1 else SequentialBackend)(nesting_level=level)
