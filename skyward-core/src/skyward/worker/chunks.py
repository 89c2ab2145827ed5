"""Several calls of one function as one task: what ``executor.map(..., chunksize=20)`` sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from skyward.worker import failure

__all__ = ["Broken", "chunked"]


class Broken(NamedTuple):
    """What a chunk gives in which a call has failed: the results before it, and the failure from ``failure.encode``."""

    results: list[Any]
    report: bytes


def chunked(fn: Callable[..., Any]) -> Callable[[Sequence[tuple[Any, ...]]], list[Any] | Broken]:
    """Return a function that takes the arguments of several calls of ``fn`` and gives the list of their results.

    Where a call fails, the ones after it are not made, and the results before it are kept. Each chunk is a call of the
    same function, so ``fn`` and what it captures are sent to a slot once.
    """

    def run(calls: Sequence[tuple[Any, ...]]) -> list[Any] | Broken:
        call = getattr(fn, "__skyward_local__", fn)  # what is behind a compute function
        results = []
        try:
            for args in calls:
                results.append(call(*args))  # noqa: PERF401 -- what is there when a call fails is kept
        except KeyboardInterrupt:  # the task is to stop
            raise
        except BaseException as error:
            if not results:
                raise
            return Broken(results, failure.encode(error))
        return results

    run.__name__ = run.__qualname__ = str(getattr(fn, "__name__", None) or type(fn).__name__)
    return run
