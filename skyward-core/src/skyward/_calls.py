"""From pending calls to outcomes: encode, dispatch, wait, decode. One way for each kind of caller."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from skyward import _codec, _modules
from skyward._futures import Completer
from skyward._interrupts import shield
from skyward._misuse import silence
from skyward._task import Task
from skyward.computation import PendingBatch, PendingCompute
from skyward.errors import SerializationError
from skyward.function import ComputeFunction

if TYPE_CHECKING:
    from skyward._engine import Engine

__all__ = ["Calls"]

_LAST_PATIENCE = 8.0
"""Seconds that an interrupted caller waits for its tasks to stop; a node kills a stubborn one after 3."""


class Calls:
    """The ways to run calls on a pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plugins = engine.plugins
        self._completer: Completer | None = None
        self._lock = threading.Lock()
        self._decorated: WeakKeyDictionary[ComputeFunction[..., Any], ComputeFunction[..., Any]] = WeakKeyDictionary()

    # blocking

    def run(self, pending: PendingCompute[Any]) -> Any:
        """Run one and wait for it."""
        task = self._task(pending)
        done = _thread.allocate_lock()
        done.acquire()
        task.on_done = lambda _: done.release()
        try:
            with shield:  # torn apart, it would leave a slot that waits for a task which never comes
                self._engine.dispatcher.submit([task])
                self._engine.reactor.wait(done)
        except BaseException:
            self._abandon([task], lambda: done.acquire(timeout=_LAST_PATIENCE))
            raise
        self._engine.events.settle()
        return self._take(task)

    def run_batch(self, batch: PendingBatch[*tuple[Any, ...]]) -> tuple[Any, ...]:
        """Run several at the same time and wait for all of them."""
        tasks = self._tasks(batch)
        return self._take_all(self._wait(tasks), return_exceptions=batch.return_exceptions)

    def broadcast(self, pending: PendingCompute[Any]) -> tuple[Any, ...]:
        """Run one on every node and wait for all of them."""
        return self._take_all(self._wait(self._copies(pending)), return_exceptions=False)

    def _wait(self, tasks: list[Task]) -> list[Task]:
        if not tasks:
            self._engine.require_active()
            return tasks
        done = _thread.allocate_lock()
        done.acquire()
        left = _Countdown(len(tasks), done.release)
        for task in tasks:
            task.on_done = left
        try:
            with shield:
                self._engine.dispatcher.submit(tasks)
                self._engine.reactor.wait(done)
        except BaseException:
            self._abandon(tasks, lambda: done.acquire(timeout=_LAST_PATIENCE))
            raise
        self._engine.events.settle()
        return tasks

    def _abandon(self, tasks: Sequence[Task], wait: Any) -> None:
        """The caller was interrupted: stop its tasks, and see them stopped, so that the pool is usable again."""
        with shield:
            self._engine.dispatcher.cancel(tasks)
        wait()
        self._engine.events.settle()  # their last words come before the interrupt goes on

    # for coroutines

    async def arun(self, pending: PendingCompute[Any]) -> Any:
        """Run one without blocking the loop."""
        (task,) = await self._await([self._task(pending)])
        try:
            return self._take(task)
        except StopIteration as error:
            raise RuntimeError(f"{task.name} raised StopIteration, which cannot leave a coroutine") from error

    async def arun_batch(self, batch: PendingBatch[*tuple[Any, ...]]) -> tuple[Any, ...]:
        """Run several without blocking the loop."""
        tasks = self._tasks(batch)
        return self._take_all(await self._await(tasks), return_exceptions=batch.return_exceptions)

    async def abroadcast(self, pending: PendingCompute[Any]) -> tuple[Any, ...]:
        """Run one on every node without blocking the loop."""
        return self._take_all(await self._await(self._copies(pending)), return_exceptions=False)

    async def _await(self, tasks: list[Task]) -> list[Task]:
        if not tasks:
            self._engine.require_active()
            return tasks
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        left = _Countdown(len(tasks), lambda: _tell(loop, done))
        for task in tasks:
            task.on_done = left
        with shield:
            self._engine.dispatcher.submit(tasks)
        self._engine.reactor.resume()
        try:
            await done.wait()
        except BaseException:
            self._engine.dispatcher.cancel(tasks)
            raise
        if not self._engine.events.settle(0):  # callbacks may need the loop, so it does not wait for them
            await asyncio.to_thread(self._engine.events.settle)
        return tasks

    # for futures

    def submit(self, pending: PendingCompute[Any]) -> concurrent.futures.Future[Any]:
        """Start one and return a future of it."""
        task = self._task(pending)
        return (self._completer or self.completer).submit(task)

    @property
    def completer(self) -> Completer:
        """Where the futures of the pool are completed."""
        with self._lock:
            if self._completer is None:
                self._completer = Completer(self._engine)
            return self._completer

    # encoding and decoding

    def _tasks(self, batch: object) -> list[Task]:
        if not isinstance(batch, PendingBatch):
            silence(batch)
            raise TypeError(f"{_described(batch)} is no batch of calls: make one with `&` or sky.gather(...)")
        batch.dispatched = True
        return [self._task(pending) for pending in batch.pendings]

    def _task(self, pending: object, node: int | None = None) -> Task:
        if not isinstance(pending, PendingCompute):
            silence(pending)
            raise TypeError(f"{_described(pending)} is no call of a compute function: {_remedy(pending)}")
        pending.dispatched = True  # a call that is refused need not warn as well that it was never dispatched
        if self._engine.state != "active":
            self._engine.require_active()
        function = self._integrated(pending.function) if self._plugins else pending.function
        encoded = _codec.encode_function(function)
        try:
            payload = _codec.encode_call(pending.args, pending.kwargs, encoded.name, function.fn, pending.sharing)
        except SerializationError:
            silence(pending.args, *pending.kwargs.values())
            raise
        bundle = encoded.bundle
        if payload.modules:
            bundle = _modules.collect(encoded.payload.modules | payload.modules)
        return Task(encoded, payload, bundle, node=node, retries=function.retry)

    def _integrated(self, function: ComputeFunction[..., Any]) -> ComputeFunction[..., Any]:
        """The function with the pool's plugins around it; one object per function, so that it is sent once."""
        known = self._decorated.get(function)
        if known is None:
            known = function
            for plugin in self._plugins:
                known = plugin(known)
            self._decorated[function] = known
        return known

    def _copies(self, pending: PendingCompute[Any]) -> list[Task]:
        """The same call for every node, pickled once."""
        first = self._task(pending, node=0)
        more = range(1, self._engine.node_count)
        return [
            first,
            *(Task(first.encoded, first.payload, first.bundle, node=node, retries=first.retries) for node in more),
        ]

    def _take(self, task: Task) -> Any:
        result, error = task.outcome()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame: together they would wait for the garbage collector
        return result

    def _take_all(self, tasks: list[Task], *, return_exceptions: bool) -> tuple[Any, ...]:
        outcomes = [task.outcome() for task in tasks]
        if not return_exceptions:
            for _, error in outcomes:
                if error is not None:
                    raise error
        return tuple(result if error is None else error for result, error in outcomes)


def _described(value: object) -> str:
    return "a batch" if isinstance(value, PendingBatch) else repr(value)


def _remedy(value: object) -> str:
    if isinstance(value, PendingBatch):
        return "run it with `batch >> pool` or pool.run_batch(batch)"
    if isinstance(value, ComputeFunction):
        return f"call it, `{value.name}(...) >> pool`"
    return "decorate a function with @sky.compute, and pass what calling it gives"


class _Countdown:
    """Calls back once as many tasks have ended as were started."""

    __slots__ = ("_left", "_lock", "_then")

    def __init__(self, count: int, then: Any) -> None:
        self._left = count
        self._lock = threading.Lock()
        self._then = then

    def __call__(self, _task: Task) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(done.set)
    except RuntimeError:  # that loop was closed: nobody waits any more
        return
