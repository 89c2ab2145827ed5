"""``shard``: the part of some data that this node works on."""

from __future__ import annotations

import operator
import random
import sys
from typing import Any, Literal, overload

from skyward._instance import world
from skyward.errors import ConfigurationError

__all__ = ["permutation", "shard"]


@overload
def shard(array: range, /, *, shuffle: Literal[False] = False, seed: int | None = None) -> range: ...
@overload
def shard(array: range, /, *, shuffle: bool, seed: int | None = None) -> range | list[int]: ...
@overload
def shard[A](array: A, /, *, shuffle: bool = False, seed: int | None = None) -> A: ...
@overload
def shard[A, B](a: A, b: B, /, *, shuffle: bool = False, seed: int | None = None) -> tuple[A, B]: ...
@overload
def shard[A, B, C](a: A, b: B, c: C, /, *, shuffle: bool = False, seed: int | None = None) -> tuple[A, B, C]: ...
@overload
def shard(
    a: Any, b: Any, c: Any, d: Any, /, *more: Any, shuffle: bool = False, seed: int | None = None
) -> tuple[Any, ...]: ...
def shard(*arrays: Any, shuffle: bool = False, seed: int | None = None) -> Any:
    """Take this node's part of ``arrays``, which every node has as a whole; this rank's in a group of functions.

    Every item falls to exactly one node, and the nodes' numbers of items differ by at most one; with fewer items than
    nodes some get an empty part. Without ``shuffle`` a part is a contiguous block, node 0 having the first. With it the
    items are first put into an order drawn from ``seed`` (0 if it is ``None``), the same on every node and in every
    version of Python. Several arrays are divided in one way, so that their rows stay aligned.

    Lists, tuples, ranges, numpy arrays, pandas objects (the index is kept), torch tensors and other arrays that are
    indexed alike keep their type, except that a shuffled range becomes a list. Arrays are divided along their first
    dimension; a contiguous block of an array may be a view of it.

    Gives one part for one array and a tuple of parts for several. In a process that is not part of a pool the whole
    data is the part. Raises ``TypeError`` for what has no order or no parts (strings, dicts, sets, ...) and
    ``ConfigurationError`` for arrays of unequal length.
    """
    if not arrays:
        raise TypeError("shard() divides at least one array: write shard(data)")
    lengths = [_length(array, at if len(arrays) > 1 else 0) for at, array in enumerate(arrays, 1)]
    if len(set(lengths)) > 1:
        found = ", ".join(map(str, lengths))
        raise ConfigurationError(
            f"shard() divides arrays of equal length side by side, and these have {found} items: "
            "cut them to one length, or shard each by itself"
        )
    rank, size = world()
    start, stop = _block(lengths[0], rank, size)
    if shuffle:
        rows = permutation(lengths[0], _whole(seed))[start:stop]
        parts = tuple(_pick(array, rows) for array in arrays)
    else:
        parts = tuple(_cut(array, start, stop) for array in arrays)
    return parts if len(parts) > 1 else parts[0]


def permutation(length: int, seed: int) -> list[int]:
    """The numbers from 0 to ``length`` - 1 in an order that depends on ``seed`` alone.

    This is the Fisher-Yates shuffle, from the last place down, over ``random.Random(seed).random()``: the one method
    of that class whose sequence Python promises to keep between versions.
    """
    order = list(range(length))
    draw = random.Random(seed).random  # noqa: S311 -- an order that all nodes agree on, not a secret
    for last in range(length - 1, 0, -1):
        other = int(draw() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def _block(length: int, rank: int, size: int) -> tuple[int, int]:
    """Where the block of ``rank`` starts and stops: the first ``length % size`` blocks have one item more."""
    each, more = divmod(length, size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)


def _whole(seed: int | None) -> int:
    try:
        return 0 if seed is None else operator.index(seed)
    except TypeError:
        raise ConfigurationError(f"seed={seed!r} is not a whole number: pass one, such as seed=42") from None


def _length(array: Any, position: int) -> int:
    which = f"argument {position} of shard()" if position else "the argument of shard()"
    if isinstance(array, (list, tuple, range)):
        return len(array)
    shape = getattr(array, "shape", None)
    if shape is not None and (hasattr(array, "iloc") or hasattr(array, "dtype")):
        if len(shape) == 0:
            raise TypeError(f"{which} is an array without dimensions, which cannot be divided: pass an array of items")
        return int(shape[0])
    if isinstance(array, (str, bytes, bytearray)):
        remedy = "pass a list of what is to be divided"
    elif isinstance(array, (set, frozenset)):
        remedy = "its order differs between nodes, so pass sorted(...) of it"
    elif hasattr(array, "keys") and hasattr(array, "items"):
        remedy = "pass list(x.items()), or its columns one by one, shard(x['a'], x['b'])"
    elif hasattr(array, "__len__") and hasattr(array, "__getitem__"):
        remedy = "divide its row numbers, shard(range(len(x))), and take those rows, or use DistributedSampler(x)"
    elif hasattr(array, "__iter__"):
        remedy = "pass list(...) of it"
    else:
        remedy = "pass a list, a tuple, a range, an array or a data frame"
    raise TypeError(f"{which} is a {type(array).__name__}, which shard() cannot divide: {remedy}")


def _cut(array: Any, start: int, stop: int) -> Any:
    return array.iloc[start:stop] if hasattr(array, "iloc") else array[start:stop]


def _pick(array: Any, rows: list[int]) -> Any:
    if isinstance(array, tuple):
        return tuple(array[row] for row in rows)
    if isinstance(array, (list, range)):
        return [array[row] for row in rows]
    if not rows:  # an empty list tells an array nothing of the kind of its numbers
        return _cut(array, 0, 0)
    if hasattr(array, "iloc"):
        return array.iloc[rows]
    # An array of numbers is an index to every array library; a list of them is not to all.
    numpy = sys.modules.get("numpy")
    return array[rows if numpy is None else numpy.asarray(rows)]
