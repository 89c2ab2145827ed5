"""On a node: Keras' own state for the time of one call. This module is imported there alone."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.util import find_spec

from skyward.spi import Group, current_group, environ_with, not_on_this_node, uninterrupted
from skyward_keras._binding import imported_with

__all__ = ["session"]


@contextmanager
def session(backend: str) -> Iterator[None]:
    """Have Keras on this backend inside the block, and on JAX distributed over the devices of the group.

    Raises:
        ModuleNotFoundError: Keras is not installed.
        RuntimeError: Keras was imported with another backend in this process.
    """
    group = current_group()
    with environ_with({"KERAS_BACKEND": backend}):
        _check(backend)
        if group is not None and find_spec("keras") is None:
            raise not_on_this_node("keras", "keras")
        with nullcontext() if group is None or backend != "jax" else _distributed(group):
            yield


def _check(backend: str) -> None:
    other = imported_with()
    if other not in {None, backend}:
        raise RuntimeError(
            f"Keras was imported with the backend {other!r} in this process, which it keeps, and the function wants "
            f"{backend!r}: use one backend for all functions of a pool, by plugins=[sky.integrations.keras("
            f"backend={backend!r})], and import keras inside of functions alone"
        )


@contextmanager
def _distributed(group: Group) -> Iterator[None]:
    """Inside the block, models are on the devices of all processes, with the same first weights everywhere.

    Keras keeps a generator of random numbers on the devices, which are made anew for each group: it begins without, and
    leaves none behind. What the function seeds itself stands; else the seed is another one in each call.
    """
    import keras
    import numpy as np

    before = random.getstate(), np.random.get_state()
    keras.utils.clear_session(free_memory=False)
    try:
        keras.utils.set_random_seed(zlib.crc32(group.call.encode()))
        # Each process is given its own part of the data, and so is no part divided once more.
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
        yield
    finally:
        with uninterrupted(), ExitStack() as after:  # each of them, whatever another one raises
            after.callback(np.random.set_state, before[1])
            after.callback(random.setstate, before[0])
            after.callback(keras.utils.clear_session, free_memory=False)
            after.callback(keras.distribution.set_distribution, None)
