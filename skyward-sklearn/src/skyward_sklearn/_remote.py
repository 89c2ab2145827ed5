"""What runs in a slot: one batch of calls, under the limits that nested parallelism has there.

Imported by the nodes, so nothing here takes time to import.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from attrs import frozen

from skyward_sklearn import _threads
from skyward_sklearn._versions import Versions

__all__ = ["NAME", "Call", "Initializer", "Ran", "Sealed", "Terms", "named"]

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
        """The same token for what pickles to the same; ``None`` for ``None``.

        Raises:
            TypeError: what is given cannot be called.
        """
        if function is None:
            return None
        if not callable(function):
            raise TypeError(f"initializer is {function!r}, which cannot be called: give a function")
        import cloudpickle

        return cls(blake2b(cloudpickle.dumps((function, args)), digest_size=16).digest(), function, tuple(args))


@frozen
class Terms:
    """What is the same for all batches of a ``Parallel``.

    ``versions`` refuses others by being unpickled. ``level`` is the nesting level of a ``Parallel`` inside of a batch:
    1 has threads of the slot, above that it runs its calls one after another. ``sender`` is a number that tells the
    batches of one ``Parallel`` from those of others.
    """

    versions: Versions
    limits: _threads.Limits
    level: int
    sender: int


class Sealed:
    """Terms as they travel, pickled once: the first argument of each batch.

    In the slot they are in force as soon as they are unpickled, before the other arguments import what they need.
    """

    def __init__(self, terms: Terms) -> None:
        self._pickled = pickle.dumps(terms, 5)

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return _opened, (self._pickled,)


def _opened(pickled: bytes) -> Terms:
    terms = _terms(pickled)
    _threads.limit(terms.limits)
    return terms


@lru_cache(maxsize=64)
def _terms(pickled: bytes) -> Terms:
    return pickle.loads(pickled)  # type: ignore[no-any-return]


def named(name: str) -> Callable[[Terms, Initializer | None, Sequence[Call]], Ran]:
    """What is sent to the slots to run batches, under a name for events and messages: that of the user's function.

    It goes by value, since it has no place of its own in a module, and captures nothing, so that it is pickled once.
    """

    def run(terms: Terms, initializer: Initializer | None, calls: Sequence[Call]) -> Ran:
        return _run(terms, initializer, calls)

    run.__name__ = name
    return run


def _run(terms: Terms, initializer: Initializer | None, calls: Sequence[Call]) -> Ran:
    """Run the calls of a batch of a sender, of which this slot may have had others."""
    global _latest
    begun = time.perf_counter()
    pause = begun - _latest[1] if _latest[0] == terms.sender else None
    with _nested_config(terms.level):
        _initialize(initializer)
        results = [getattr(call, "__skyward_local__", call)(*args, **kwargs) for call, args, kwargs in calls]
    ended = time.perf_counter()
    _latest = terms.sender, ended
    return ended - begun, pause, results


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
