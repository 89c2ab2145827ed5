"""``executor.map``: one call a task or several, as many ahead as wanted, and no result lost."""

from __future__ import annotations

import concurrent.futures
import itertools
import operator
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def executor(roomy: sky.ComputePool) -> Iterator[concurrent.futures.Executor]:
    executor = roomy.executor()
    yield executor
    executor.shutdown()


@pytest.fixture
def reciprocal() -> Callable[[int], float]:
    def reciprocal(x: int) -> float:
        return 1 / x

    return reciprocal


@pytest.fixture
def endless() -> Callable[..., None]:
    def endless(*_: object) -> None:
        import threading

        threading.Event().wait()

    return endless


def test_calls_of_a_chunk_run_together_and_chunks_apart(executor: Any) -> None:
    def task() -> int:
        from skyward.worker import context

        return int(getattr(context.current, "task_id"))  # noqa: B009 -- it is there, on a node

    tasks = list(executor.map(lambda _: task(), range(10), chunksize=4))
    assert [len(list(group)) for _, group in itertools.groupby(tasks)] == [4, 4, 2]
    assert len(set(tasks)) == 3


def test_chunks_take_several_iterables_and_compute_functions(executor: Any, double: Any) -> None:
    assert list(executor.map(pow, range(7), [2] * 9, chunksize=3)) == [n * n for n in range(7)]
    assert list(executor.map(double, range(7), chunksize=3)) == [0, 2, 4, 6, 8, 10, 12]
    assert list(executor.map(abs, [], chunksize=3)) == []


@pytest.mark.parametrize("chunksize", [1, 2, 3, 100])
def test_what_was_done_before_a_call_failed_is_given_before_its_error(
    executor: Any, reciprocal: Any, chunksize: int
) -> None:
    results = executor.map(reciprocal, [1, 2, 4, 5, 0, 10], chunksize=chunksize)
    assert list(itertools.islice(results, 4)) == [1, 0.5, 0.25, 0.2]
    with pytest.raises(ZeroDivisionError) as raised:
        next(results)
    assert "return 1 / x" in "".join(traceback.format_exception(raised.value))
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with pytest.raises(StopIteration):
        next(results)


def test_a_call_of_a_chunk_that_leaves_by_sys_exit_keeps_the_results_before_it(executor: Any) -> None:
    def leave(x: int) -> int:
        if x == 2:
            raise SystemExit(7)
        return x

    results = executor.map(leave, range(4), chunksize=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(sky.TaskExit, match=r"sys\.exit\(7\) on node 0, slot [01]"):
        next(results)


def test_chunks_keep_the_retries_of_a_compute_function(executor: Any, tmp_path: Any) -> None:
    @sky.compute(retry=1)
    def fragile(marker: str, x: int) -> int:
        import os

        if not os.path.exists(marker):
            with open(marker, "w"):
                pass
            os._exit(1)
        return x

    marker = f"/tmp/skyward-{tmp_path.name}-{id(tmp_path)}"
    assert list(executor.map(fragile, [marker] * 3, range(3), chunksize=3)) == [0, 1, 2]


def test_everything_is_submitted_although_no_result_is_asked_for(executor: Any, gate: Any) -> None:
    executor.map(lambda _: gate.open(), range(1))
    executor.submit(gate.wait).result(60)  # which another task has to open


def test_results_come_as_they_are_asked_for_with_no_more_than_a_buffer_ahead(executor: Any) -> None:
    numbers = itertools.count()
    results = executor.map(abs, numbers, buffersize=3)
    assert next(numbers) == 3  # and so is skipped
    assert [next(results) for _ in range(5)] == [0, 1, 2, 4, 5]
    assert next(numbers) == 9
    results.close()
    chunks = executor.map(abs, itertools.count(), chunksize=10, buffersize=1)
    assert list(itertools.islice(chunks, 25)) == list(range(25))
    assert list(executor.map(abs, range(5), buffersize=100)) == list(range(5))


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be at least 1, not 0"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or at least 1, not 0"),
        ({"buffersize": 2.5}, TypeError, "buffersize must be an integer or None, not 2.5"),
    ],
)
def test_sizes_that_cannot_work_are_refused_before_anything_runs(
    executor: Any, parameters: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        executor.map(abs, [1], **parameters)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_when_the_time_is_over_what_waits_is_dropped(endless: Any, chunksize: int) -> None:
    with sky.ComputePool(display="quiet") as pool:
        executor = pool.executor()
        seen = _watch(executor)
        results = executor.map(endless, range(6 * chunksize), chunksize=chunksize, timeout=0)
        with pytest.raises(TimeoutError):
            next(results)
        assert [future.cancelled() for future in seen] == [False, True, True, True, True, True]


def test_an_iterator_that_is_dropped_half_way_drops_what_waits(endless: Any) -> None:
    def first(x: int) -> int:
        if x:
            import threading

            threading.Event().wait()
        return x

    with sky.ComputePool(display="quiet") as pool:
        executor = pool.executor()
        seen = _watch(executor)
        for result in executor.map(first, range(6)):
            assert result == 0
            break
        assert all(future.cancelled() for future in seen[3:])


def test_an_argument_that_cannot_be_pickled_drops_the_calls_before_it(endless: Any) -> None:
    import threading

    with sky.ComputePool(display="quiet") as pool:
        executor = pool.executor()
        seen = _watch(executor)
        with pytest.raises(sky.SerializationError):
            executor.map(endless, [1, 2, 3, threading.Lock()])
        assert [future.cancelled() for future in seen] == [False, True, True]


def _watch(executor: Any) -> list[concurrent.futures.Future[Any]]:
    """The futures of the executor from now on. The first ones run, or are on their way to a slot."""
    seen: list[concurrent.futures.Future[Any]] = []
    submit = executor.submit

    def watched(*args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        seen.append(submit(*args, **kwargs))
        return seen[-1]

    executor.submit = watched
    return seen


def test_nothing_is_taken_after_shutdown(roomy: sky.ComputePool) -> None:
    executor = roomy.executor()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(operator.neg, [1])
