"""Progress bars of tqdm count what ``sky.Executor`` has done."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def executor() -> Iterator[sky.Executor]:
    with sky.Executor(concurrency=2, display="quiet") as executor:
        yield executor


def test_a_bar_around_map_counts_results(executor: Any) -> None:
    from tqdm import tqdm

    shown = io.StringIO()
    assert list(tqdm(executor.map(abs, range(-10, 0)), total=10, file=shown)) == list(range(10, 0, -1))
    assert "10/10" in shown.getvalue()


def test_thread_map_waits_for_calls_in_the_slots(executor: Any) -> None:
    from tqdm.contrib.concurrent import thread_map

    shown = io.StringIO()
    done = thread_map(lambda x: executor.submit(pow, x, 2).result(60), range(10), max_workers=4, file=shown)
    assert done == [n * n for n in range(10)]
    assert "10/10" in shown.getvalue()


def test_the_map_of_tqdm_contrib_concurrent_takes_it_in_the_place_of_a_process_pool(executor: Any) -> None:
    from tqdm.contrib import concurrent

    def slots(*, max_workers: int | None, initializer: Any, initargs: tuple[Any, ...]) -> Any:
        assert initializer.__name__ == "set_lock"  # it shares a terminal, which a node has not
        return executor.pool.executor()

    shown = io.StringIO()
    mapped = functools.partial(vars(concurrent)["_executor_map"], slots)
    assert mapped(pow, range(10), [2] * 10, file=shown) == [n * n for n in range(10)]
    assert "10/10" in shown.getvalue()
