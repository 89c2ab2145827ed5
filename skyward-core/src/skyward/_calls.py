"""From pending calls to outcomes: encode, dispatch, wait, decode. One way for each kind of caller."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from skyward import _codec, _modules
from skyward._futures import Completer
from skyward._interrupts import shield
from skyward._misuse import silence
from skyward._task import Task
from skyward._together import Alone, Team, judge_of
from skyward.computation import PendingBatch, PendingCompute
from skyward.errors import SerializationError
from skyward.function import ComputeFunction

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._engine import Engine

__all__ = ["Calls", "Several"]

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
        with shield:  # torn apart, it would leave a slot that waits for a task which never comes
            try:
                self._engine.dispatcher.submit([task])
                self._engine.reactor.wait(done)
            except BaseException:
                self._abandon(Several([task]), done)
                raise
        self._engine.events.settle()
        return self._take(task)

    def run_batch(self, batch: PendingBatch[*tuple[Any, ...]]) -> tuple[Any, ...]:
        """Run several at the same time and wait for all of them."""
        several = self._several(batch)
        self._wait(several)
        return _taken(several.outcomes(), return_exceptions=batch.return_exceptions)

    def broadcast(self, pending: PendingCompute[Any]) -> tuple[Any, ...]:
        """Run one on every node and wait for all of them."""
        copies = self._copies(pending)
        self._wait(copies)
        return _taken(copies.outcomes())

    def _wait(self, work: Several | Team) -> None:
        if not work.tasks:
            self._engine.require_active()
            return
        done = _thread.allocate_lock()
        done.acquire()
        with shield:
            try:
                work.start(self._engine.dispatcher, done.release)
                self._engine.reactor.wait(done)
            except BaseException:
                self._abandon(work, done)
                raise
        self._engine.events.settle()

    def _abandon(self, work: Several | Team, done: _thread.LockType) -> None:
        """The caller was interrupted: stop its tasks, and see them stopped, so that the pool is usable again."""
        work.cancel(self._engine.dispatcher)
        if not all(task.done for task in work.tasks):  # else the interrupt came when it had been waited for
            with shield.window():
                done.acquire(timeout=_LAST_PATIENCE)
        self._engine.events.settle()  # their last words come before the interrupt goes on

    # for coroutines

    async def arun(self, pending: PendingCompute[Any]) -> Any:
        """Run one without blocking the loop."""
        task = self._task(pending)
        await self._await(Several([task]))
        try:
            return self._take(task)
        except StopIteration as error:
            raise RuntimeError(f"{task.name} raised StopIteration, which cannot leave a coroutine") from error

    async def arun_batch(self, batch: PendingBatch[*tuple[Any, ...]]) -> tuple[Any, ...]:
        """Run several without blocking the loop."""
        several = self._several(batch)
        await self._await(several)
        return _taken(several.outcomes(), return_exceptions=batch.return_exceptions)

    async def abroadcast(self, pending: PendingCompute[Any]) -> tuple[Any, ...]:
        """Run one on every node without blocking the loop."""
        copies = self._copies(pending)
        await self._await(copies)
        return _taken(copies.outcomes())

    async def _await(self, work: Several | Team) -> None:
        if not work.tasks:
            self._engine.require_active()
            return
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        with shield:
            work.start(self._engine.dispatcher, lambda: _tell(loop, done))
        self._engine.reactor.resume()
        try:
            await done.wait()
        except BaseException:
            work.cancel(self._engine.dispatcher)
            raise
        if not self._engine.events.settle(0):  # callbacks may need the loop, so it does not wait for them
            await asyncio.to_thread(self._engine.events.settle)

    # for futures

    def submit(self, pending: PendingCompute[Any]) -> concurrent.futures.Future[Any]:
        """Start one and return a future of it."""
        task = self._task(pending)
        return (self._completer or self.completer).submit(task)

    @property
    def completer(self) -> Completer:
        """Where the futures of the pool are completed."""
        with shield, self._lock:
            if self._completer is None:
                self._completer = Completer(self._engine)
            return self._completer

    # encoding and decoding

    def _several(self, batch: object) -> Several:
        if not isinstance(batch, PendingBatch):
            silence(batch)
            raise TypeError(f"{_described(batch)} is no batch of calls: make one with `&` or sky.gather(...)")
        batch.dispatched = True
        return Several([self._task(pending) for pending in batch.pendings])

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
        task = Task(encoded, payload, bundle, node=node, retries=function.retry)
        if function.together:
            task.team = Alone(function)
        return task

    def _integrated(self, function: ComputeFunction[..., Any]) -> ComputeFunction[..., Any]:
        """The function with the pool's plugins around it; one object per function, so that it is sent once."""
        known = self._decorated.get(function)
        if known is None:
            known = function
            for plugin in self._plugins:
                known = plugin(known)
            self._decorated[function] = known
        return known

    def _copies(self, pending: PendingCompute[Any]) -> Several | Team:
        """The same call for every node, or for every slot as a group, pickled once."""
        first = self._task(pending, node=0)
        if first.team is not None:
            function = self._integrated(pending.function)
            nodes, slots = range(self._engine.spec.nodes), range(self._engine.spec.concurrency)
            places = [(node, slot) for node in nodes for slot in slots]
            return Team(first, places, judge_of(function), first.team.probe)
        more = range(1, self._engine.spec.nodes)
        return Several(
            [
                first,
                *(Task(first.encoded, first.payload, first.bundle, node=node, retries=first.retries) for node in more),
            ]
        )

    def _take(self, task: Task) -> Any:
        result, error = task.outcome()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame: together they would wait for the garbage collector
        return result


def _taken(outcomes: list[tuple[Any, BaseException | None]], *, return_exceptions: bool = False) -> tuple[Any, ...]:
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


class Several:
    """Tasks that run each by itself, and are waited for together."""

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = tasks

    def start(self, dispatcher: Dispatcher, done: Callable[[], object]) -> None:
        """Have them run, and ``done`` called when all have ended."""
        left = _Countdown(len(self.tasks), done)
        for task in self.tasks:
            task.on_done = left
        dispatcher.submit(self.tasks)

    def cancel(self, dispatcher: Dispatcher) -> None:
        """Stop them."""
        dispatcher.cancel(self.tasks)

    def outcomes(self) -> list[tuple[Any, BaseException | None]]:
        """What each has come to."""
        return [task.outcome() for task in self.tasks]


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
