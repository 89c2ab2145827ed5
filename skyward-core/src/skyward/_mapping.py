"""``executor.map``: calls over iterables, one by one or in chunks, and their results in order."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from skyward._futures import TaskFuture
from skyward.function import ComputeFunction
from skyward.worker.chunks import Broken, chunked

if TYPE_CHECKING:
    type Submit = Callable[..., concurrent.futures.Future[Any]]

__all__ = ["mapped"]


def mapped(
    submit: Submit,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[Any]:
    """Submit ``fn`` with each row of the iterables and return an iterator over the results, as executors' ``map`` does.

    Args:
        submit: an executor's.
        fn: called with one item of each iterable; the shortest one ends it.
        iterables: read at once and whole, unless there is a ``buffersize``.
        timeout: seconds from now after which the iterator raises ``TimeoutError``; ``None`` for no limit.
        chunksize: calls that travel and run together, as one task.
        buffersize: tasks that may be on their way, or wait to be fetched from the iterator; ``None`` for no limit.

    Raises:
        ValueError: ``chunksize`` or ``buffersize`` is less than 1.
        TypeError: ``buffersize`` is neither a whole number nor ``None``.
    """
    if chunksize < 1:
        raise ValueError(f"chunksize must be at least 1, not {chunksize}: leave it out to send each call by itself")
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize must be None or at least 1, not {buffersize}: leave it out for no limit")
    until = None if timeout is None else timeout + time.monotonic()
    rows: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
    if chunksize > 1:
        retry = fn.retry if isinstance(fn, ComputeFunction) else 0
        fn = ComputeFunction(chunked(fn), retry)
        rows = ((chunk,) for chunk in itertools.batched(rows, chunksize))
    futures: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    try:
        for row in itertools.islice(rows, buffersize):
            futures.append(submit(fn, *row))
    except BaseException:
        _drop(futures)
        raise
    more = None if buffersize is None else lambda: [submit(fn, *row) for row in itertools.islice(rows, 1)]
    return _results(futures, until, more, _unpacked if chunksize > 1 else None)


def _results(
    futures: collections.deque[concurrent.futures.Future[Any]],
    until: float | None,
    more: Callable[[], list[concurrent.futures.Future[Any]]] | None,
    unpacked: Callable[[concurrent.futures.Future[Any], float | None], Iterator[Any]] | None,
) -> Iterator[Any]:
    """The results in order; nothing of one that was given is kept. Left early, it drops what waits."""
    try:
        while futures:
            if more is not None:
                futures[0].exception(_left(until))  # what has ended makes place for one more
                futures.extend(more())
            if unpacked is None:
                yield _result(futures.popleft(), until)
            else:
                yield from unpacked(futures.popleft(), until)
    finally:
        _drop(futures)


def _unpacked(chunk: concurrent.futures.Future[Any], until: float | None) -> Iterator[Any]:
    """The results of a chunk; those before a call that failed are given before its failure is raised."""
    outcome = _result(chunk, until)
    results: list[Any] = outcome.results if isinstance(outcome, Broken) else outcome
    results.reverse()
    while results:
        yield results.pop()
    if isinstance(outcome, Broken):
        from skyward import _failure

        node, slot = chunk.place if isinstance(chunk, TaskFuture) else (0, 0)
        raise _failure.decode(outcome.report, node=node, slot=slot)


def _left(until: float | None) -> float | None:
    return None if until is None else until - time.monotonic()


def _result(future: concurrent.futures.Future[Any], until: float | None) -> Any:
    try:
        try:
            return future.result(_left(until))
        finally:
            future.cancel()  # it waits no longer where the time is over
    finally:
        del future  # its error's traceback has this frame: together they would wait for the garbage collector


def _drop(futures: Iterable[concurrent.futures.Future[Any]]) -> None:
    for future in futures:
        future.cancel()
