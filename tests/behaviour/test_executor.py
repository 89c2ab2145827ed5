"""``sky.Executor`` and ``pool.executor()`` are executors of ``concurrent.futures``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import operator
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import skyward as sky


@pytest.fixture(scope="module")
def executor(pool: sky.ComputePool) -> Iterator[concurrent.futures.Executor]:
    executor = pool.executor()
    yield executor
    executor.shutdown()


def test_submit_gives_a_future_of_the_result(executor: concurrent.futures.Executor) -> None:
    future = executor.submit(operator.add, 2, 3)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(60) == 5
    assert future.done()
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)
    assert executor.submit(int, "11", base=2).result(60) == 3
    assert executor.submit(os.getpid).result(60) != os.getpid()


def test_plain_functions_lambdas_methods_and_compute_functions_are_taken(
    executor: concurrent.futures.Executor, double: Any
) -> None:
    assert executor.submit(lambda x: x + 1, 1).result(60) == 2
    assert executor.submit("a,b".split, ",").result(60) == ["a", "b"]
    assert executor.submit(double, 4).result(60) == 8
    import functools

    assert executor.submit(functools.partial(pow, 2), 5).result(60) == 32


def test_map_keeps_the_order_and_takes_several_iterables(executor: concurrent.futures.Executor) -> None:
    assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
    assert list(executor.map(abs, [])) == []
    assert list(executor.map(abs, range(-300, 0), chunksize=7)) == list(range(300, 0, -1))


def test_as_completed_gives_every_future_once(executor: concurrent.futures.Executor) -> None:
    futures = [executor.submit(abs, number) for number in range(50)]
    assert {future.result() for future in concurrent.futures.as_completed(futures, 60)} == set(range(50))


def test_exceptions_are_kept_by_the_future(executor: concurrent.futures.Executor) -> None:
    future = executor.submit(operator.truediv, 1, 0)
    assert isinstance(future.exception(60), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        future.result()
    with pytest.raises(ZeroDivisionError):
        list(executor.map(operator.truediv, [1, 1], [1, 0]))


def test_what_cannot_be_pickled_is_refused_at_submit(executor: concurrent.futures.Executor) -> None:
    with pytest.raises(sky.SerializationError):
        executor.submit(print, threading.Lock())


def test_what_waits_can_be_cancelled_and_what_runs_cannot(provider: Any, gate: Any) -> None:
    with sky.ComputePool(provider, concurrency=2, display="quiet") as pool:
        executor = pool.executor()
        first = executor.submit(gate.wait)
        second = executor.submit(_endless)
        waiting = [executor.submit(abs, number) for number in range(5)]
        called: list[Any] = []
        waiting[0].add_done_callback(called.append)
        assert first.running()
        assert not first.cancel()
        assert [future.cancel() for future in waiting[:4]] == [True] * 4
        assert [future.cancelled() for future in waiting] == [True] * 4 + [False]
        assert called == [waiting[0]]
        with pytest.raises(concurrent.futures.CancelledError):
            waiting[0].result()
        assert concurrent.futures.wait(waiting[:4], 60).not_done == set()
        assert not second.done()


def _endless() -> None:
    threading.Event().wait()


def test_done_callbacks_may_use_the_executor(executor: concurrent.futures.Executor) -> None:
    done = threading.Event()
    results: list[int] = []

    def again(future: Any) -> None:
        results.append(future.result())
        if len(results) < 3:
            executor.submit(abs, -len(results)).add_done_callback(again)
        else:
            done.set()

    executor.submit(abs, 0).add_done_callback(again)
    assert done.wait(60)
    assert results == [0, 1, 2]


def test_after_shutdown_nothing_is_taken_and_the_pool_is_open(pool: sky.ComputePool, double: Any) -> None:
    with pool.executor() as executor:
        future = executor.submit(abs, -1)
    assert future.done()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(abs, -1)
    executor.shutdown()
    assert double(1) >> pool == 2


def test_shutdown_can_drop_what_waits(provider: Any, gate: Any) -> None:
    with sky.ComputePool(provider, concurrency=2, display="quiet") as pool:
        executor = pool.executor()
        running = executor.submit(gate.wait)
        other = executor.submit(gate.open)
        running.result(60)
        other.result(60)
        blocked = [executor.submit(_endless) for _ in range(4)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert [future.cancelled() for future in blocked] == [False, False, True, True]


def test_an_executor_brings_its_own_machines(provider: Any) -> None:
    with sky.Executor(provider, nodes=2, display="quiet") as executor:
        assert executor.pool.instance_count == 2
        assert sorted(executor.map(abs, [-3, -1, -2])) == [1, 2, 3]
    assert executor.pool.instance_count == 0
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_an_executor_without_a_block_starts_with_the_first_submit(provider: Any) -> None:
    executor = sky.Executor(provider, display="quiet")
    assert executor.pool.instance_count == 0
    future = executor.submit(abs, -4)
    assert executor.pool.instance_count == 1
    executor.shutdown()
    assert future.result() == 4
    assert executor.pool.instance_count == 0


def test_shutdown_without_waiting_ends_the_machines_once_all_is_done(provider: Any, recorder: Any) -> None:
    executor = sky.Executor(provider, display="quiet", on_event=recorder)
    future = executor.submit(abs, -4)
    executor.shutdown(wait=False)
    assert future.result(60) == 4
    recorder.wait(lambda event: isinstance(event, sky.ClusterDestroyed))


def test_an_executor_that_was_never_used_buys_nothing(provider: Any, recorder: Any) -> None:
    sky.Executor(provider, display="quiet", on_event=recorder).shutdown()
    assert recorder.events == []


def test_an_exception_in_the_block_drops_what_waits_and_ends_the_machines(provider: Any) -> None:
    executor = sky.Executor(provider, display="quiet")
    with pytest.raises(KeyError, match="mine"), executor:
        executor.submit(abs, 1).result(60)
        raise KeyError("mine")
    assert not executor.pool.is_active


def test_an_executors_pool_is_not_the_current_one(provider: Any, double: Any) -> None:
    with sky.Executor(provider, display="quiet") as executor:
        with pytest.raises(sky.UsageError, match="no pool is current"):
            double(1) >> sky
        assert double(1) >> executor.pool == 2


def test_an_event_loop_may_run_work_in_it(executor: concurrent.futures.Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, abs, -number) for number in range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_a_progress_bar_counts_its_futures(executor: concurrent.futures.Executor) -> None:
    import io

    from tqdm import tqdm

    futures = [executor.submit(abs, number) for number in range(10)]
    shown = io.StringIO()
    for _ in tqdm(concurrent.futures.as_completed(futures, 60), total=10, file=shown):
        pass
    assert "10/10" in shown.getvalue()


def test_an_argument_is_freed_on_the_node_and_here_once_its_call_is_done(
    pool: sky.ComputePool, executor: concurrent.futures.Executor
) -> None:
    def keep_weakly(argument: Any) -> None:
        import weakref

        sys.skyward_seen = weakref.ref(argument)  # type: ignore[attr-defined]

    @sky.compute
    def state() -> str:
        seen = sys.__dict__.pop("skyward_seen", None)
        return "was not here" if seen is None else "kept" if seen() is not None else "freed"

    argument = np.zeros(1 << 20)  # which is sent from its own memory
    freed = threading.Event()
    weakref.finalize(argument, freed.set)
    future = executor.submit(keep_weakly, argument)
    assert future.result(60) is None
    del argument
    assert freed.wait(60)  # although the future is kept
    assert sorted(state() @ pool) == ["freed", "was not here"]


def test_functions_that_are_submitted_once_are_not_kept(executor: concurrent.futures.Executor) -> None:
    freed: list[int] = []

    def submit(number: int) -> None:
        function = lambda: number  # noqa: E731 -- each is one of its own
        weakref.finalize(function, freed.append, number)
        assert executor.submit(function).result(60) == number

    for number in range(60):
        submit(number)
    gc.collect()
    assert len(freed) >= 30


def test_many_threads_may_submit_at_once(executor: concurrent.futures.Executor) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        nested = list(threads.map(lambda base: [executor.submit(abs, base + i) for i in range(20)], range(0, 160, 20)))
    assert [future.result(60) for row in nested for future in row] == list(range(160))


def test_futures_of_a_pool_that_ends_are_completed(provider: Any) -> None:
    with sky.ComputePool(provider, display="quiet") as pool:
        futures = [pool.executor().submit(_endless) for _ in range(3)]
    for future in futures:
        assert isinstance(future.exception(60), sky.UsageError)
