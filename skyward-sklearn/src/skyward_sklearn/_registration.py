"""A pool as the backend of joblib, for the time of a block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skyward_sklearn._remote import NAME

if TYPE_CHECKING:
    from skyward import ComputePool

__all__ = ["joblib_backend"]

_registered: list[Callable[..., Any]] = []
"""What the name stands for in each open block, the last one in force."""


@contextmanager
def joblib_backend(pool: ComputePool) -> Iterator[ComputePool]:
    """Have joblib run on a pool, for the time of a block.

        with sky.integrations.joblib_backend(pool):
            squares = Parallel(n_jobs=-1)(delayed(square)(x) for x in range(100))

    Inside the block, each ``Parallel`` of this thread that names no backend runs on the pool, and so does what builds
    upon it, such as scikit-learn with ``n_jobs``. ``n_jobs=-1``, and no ``n_jobs`` at all, stand for every slot of the
    pool; ``n_jobs=1`` runs here, as joblib has it. In other threads ``Parallel(backend="skyward")`` runs on the pool
    as long as the block is open. Blocks may be nested, and open in several threads at once.

    Args:
        pool: an active pool, which stays open when the block has ended.

    Raises:
        UsageError: the pool is not active, or is none.
        ImportError: joblib is not installed.
    """
    from joblib import parallel_config, register_parallel_backend
    from joblib.parallel import BACKENDS

    from skyward import ComputePool, UsageError
    from skyward_sklearn._backend import SkywardBackend

    if not isinstance(pool, ComputePool):
        raise UsageError(f"{pool!r} is no pool: write `with joblib_backend(pool):` inside of the pool's own block")
    backend = SkywardBackend(pool)
    backend.require_active()
    factory = functools.partial(SkywardBackend, pool)
    _registered.append(factory)
    register_parallel_backend(NAME, factory)
    try:
        with parallel_config(backend=backend, n_jobs=-1):
            yield pool
    finally:
        _registered.remove(factory)
        if _registered:
            register_parallel_backend(NAME, _registered[-1])
        else:
            BACKENDS.pop(NAME, None)
