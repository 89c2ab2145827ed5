"""``concurrent.futures`` over a pool, for code that knows executors and nothing of Skyward."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from skyward.computation import PendingCompute
from skyward.function import ComputeFunction

if TYPE_CHECKING:
    from skyward._pool import ComputePool

__all__ = ["PoolExecutor"]


class PoolExecutor(concurrent.futures.Executor):
    """An executor that runs on the nodes of a pool, in the slots of its ``concurrency``.

    Functions may be plain ones or compute functions. Shutting it down waits for its futures and leaves the pool open.
    """

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._shut = False
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._functions: WeakKeyDictionary[Callable[..., Any], ComputeFunction[..., Any]] = WeakKeyDictionary()

    @property
    def pool(self) -> ComputePool:
        """The pool that it runs on."""
        return self._pool

    @property
    def _max_workers(self) -> int:
        """How many tasks run at a time; the name is what other libraries look for on an executor."""
        return self._pool.nodes * self._pool.concurrency

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Start ``fn(*args, **kwargs)`` on a node and return its future.

        Raises:
            RuntimeError: the executor was shut down.
            SerializationError: the function or an argument cannot be pickled; nothing was sent.
        """
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
        future = self._pool.submit(PendingCompute(self._compute_function(fn), args, kwargs))
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)

    def _compute_function(self, fn: Callable[..., Any]) -> ComputeFunction[..., Any]:
        if isinstance(fn, ComputeFunction):
            return fn
        try:
            known = self._functions.get(fn)
            if known is None:
                known = self._functions[fn] = ComputeFunction(fn)
        except TypeError:  # what cannot be hashed, or referred to weakly
            return ComputeFunction(fn)
        return known

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as the base has it
        """Take no more work; with ``wait`` return when all of it has ended, with ``cancel_futures`` drop what waits."""
        with self._lock:
            self._shut = True
            left = list(self._futures)
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            concurrent.futures.wait(left)
