"""``concurrent.futures`` over a pool, for code that knows executors and nothing of Skyward."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any, overload

from skyward._interrupts import shield
from skyward._waiting import AutoResetEvent, wait_for
from skyward.computation import PendingCompute
from skyward.function import ComputeFunction

if TYPE_CHECKING:
    from skyward._pool import ComputePool

__all__ = ["PoolExecutor", "Work"]

_KNOWN = 16
"""Functions that an executor remembers, so that one which is submitted again is not pickled again."""
_LOOK_AGAIN = 0.2
"""Seconds after which who shuts down looks again: where several do, the event wakes one of them."""


class Work:
    """The futures of one executor that are not done. It refers to nothing else, so it may outlive the executor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived = AutoResetEvent()
        self._process = os.getpid()
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._coming = 0
        self.shut = False

    def begin(self) -> None:
        """A future will be there in a moment: `add` or `fail` must follow.

        Raises:
            RuntimeError: the executor was shut down.
        """
        with self._lock:
            if self.shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._coming += 1

    def add(self, future: concurrent.futures.Future[Any]) -> None:
        """The future is there."""
        with self._lock:
            self._futures.add(future)
            self._came()
        future.add_done_callback(self._forget)

    def fail(self) -> None:
        """The future will not be there."""
        with self._lock:
            self._came()

    def _came(self) -> None:
        self._coming -= 1
        if self.shut and not self._coming:
            self._arrived.set()

    def _forget(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Take no more, and drop or wait for what is there."""
        wait = wait and self._process == os.getpid()  # in a copy of the process nothing of it comes to an end
        with self._lock:
            self.shut = True
        while wait and self._coming:
            self._arrived.wait(_LOOK_AGAIN)
        with self._lock:
            left = list(self._futures)
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            with shield:
                wait_for(left)


class PoolExecutor(concurrent.futures.Executor):
    """An executor that runs on the nodes of a pool, in the slots of its ``concurrency``.

    Functions may be plain ones or compute functions. Shutting it down waits for its futures and leaves the pool open.
    """

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self._work = Work()
        self._functions: OrderedDict[int, ComputeFunction[..., Any]] = OrderedDict()
        self._functions_lock = threading.Lock()

    @property
    def pool(self) -> ComputePool:
        """The pool that it runs on."""
        return self._pool

    @property
    def _max_workers(self) -> int:
        """How many tasks run at a time; the name is what other libraries look for on an executor."""
        return self._pool.nodes * self._pool.concurrency

    def _ensure(self) -> None:
        """Have the pool ready, which is its owner's to do."""

    @overload
    def submit[**P, T](
        self, fn: ComputeFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]: ...
    @overload
    def submit[**P, T](
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Start ``fn(*args, **kwargs)`` on a node and return its future.

        Raises:
            RuntimeError: the executor was shut down.
            SerializationError: the function or an argument cannot be pickled; nothing was sent.
        """
        self._ensure()
        with shield:  # whatever is begun here comes, or `shutdown` would wait for it
            self._work.begin()
            try:
                with shield.window():
                    future = self._pool.submit(PendingCompute(self._compute_function(fn), args, kwargs))
            except BaseException:
                self._work.fail()
                raise
            self._work.add(future)
        return future

    @overload
    def map[T](
        self,
        fn: ComputeFunction[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]: ...
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Start ``fn`` with each row of the iterables, and return an iterator over the results in order.

        Args:
            fn: called with one item of each iterable; the shortest one ends it.
            iterables: read at once and whole, unless there is a ``buffersize``.
            timeout: seconds from now after which the iterator raises ``TimeoutError``; ``None`` for no limit.
            chunksize: calls that travel and run together, as one task, which pays for calls of less than a millisecond.
            buffersize: tasks that may be on their way, or wait to be fetched from the iterator; ``None`` for no limit.

        Raises:
            ValueError: ``chunksize`` or ``buffersize`` is less than 1.
            RuntimeError: the executor was shut down.
            SerializationError: the function or an argument cannot be pickled; what was started before is dropped.
        """
        from skyward._mapping import mapped

        return mapped(self.submit, fn, iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize)

    def _compute_function(self, fn: Callable[..., Any]) -> ComputeFunction[..., Any]:
        if isinstance(fn, ComputeFunction):
            return fn
        if isinstance(fn, MethodType):  # a new object at each look-up, which would keep its instance alive for nothing
            return ComputeFunction(fn)
        with self._functions_lock:
            known = self._functions.get(id(fn))
            if known is None:
                known = self._functions[id(fn)] = ComputeFunction(fn)
                if len(self._functions) > _KNOWN:
                    self._functions.popitem(last=False)
            elif len(self._functions) > 1:
                self._functions.move_to_end(id(fn))
            return known

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as the base has it
        """Take no more work; with ``wait`` return when all of it has ended, with ``cancel_futures`` drop what waits."""
        self._work.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._functions.clear()
