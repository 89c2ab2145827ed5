"""``>> sky`` and ``@ sky``: which pool is the current one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import skyward as sky


def test_the_module_stands_for_the_pool_of_the_block(provider: Any, double: Any, where: Any) -> None:
    with sky.ComputePool(provider, nodes=2, display="quiet"):
        assert double(2) >> sky == 4
        assert where() @ sky == ((0, 0), (1, 0))
        assert (double(1) & double(2)) >> sky == (2, 4)
        assert sky.run(double(3)) == 6


def test_a_nested_pool_is_current_inside_and_the_outer_one_again_after_it(provider: Any) -> None:
    @sky.compute
    def job() -> str:
        return sky.instance_info().job_id

    with sky.ComputePool(provider, display="quiet") as outer:
        first = job() >> sky
        with sky.ComputePool(provider, display="quiet") as inner:
            assert job() >> sky == job() >> inner != first
        assert job() >> sky == job() >> outer == first


def test_pools_that_are_left_in_the_order_of_their_entry_leave_the_later_ones_current(provider: Any) -> None:
    @sky.compute
    def job() -> str:
        return sky.instance_info().job_id

    first, second = (sky.ComputePool(provider, display="quiet") for _ in range(2))
    first.__enter__()
    second.__enter__()
    later = job() >> second
    first.__exit__(None, None, None)
    assert job() >> sky == later
    second.__exit__(None, None, None)
    with pytest.raises(sky.UsageError, match="no pool is current"):
        job() >> sky


def test_without_a_pool_the_module_says_what_to_do(double: Any) -> None:
    with pytest.raises(sky.UsageError, match=r"no pool is current here.*with sky.ComputePool"):
        double(1) >> sky


def test_the_current_pool_is_taken_away_when_its_block_ends_by_an_error(provider: Any, double: Any) -> None:
    with pytest.raises(ZeroDivisionError), sky.ComputePool(provider, display="quiet"):
        1 / 0  # noqa: B018
    with pytest.raises(sky.UsageError, match="no pool is current"):
        double(1) >> sky


def test_a_new_thread_has_no_current_pool_and_is_told_to_name_it(provider: Any, double: Any) -> None:
    said: list[BaseException] = []

    def work() -> None:
        try:
            double(1) >> sky
        except sky.UsageError as error:
            said.append(error)

    with sky.ComputePool(provider, display="quiet"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(said) == 1
    assert "in this thread" in str(said[0])
    assert ">> pool" in str(said[0])


def test_many_threads_may_dispatch_to_one_pool_at_once(pool: sky.ComputePool, double: Any) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> list[int]:
        start.wait()
        return [double(number * 100 + item) >> pool for item in range(25)]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(work, range(8)))
    assert results == [[2 * (number * 100 + item) for item in range(25)] for number in range(8)]


def test_a_task_cannot_dispatch_and_is_told_so(pool: sky.ComputePool, double: Any) -> None:
    @sky.compute
    def dispatch() -> Any:
        return double(1) >> sky

    with pytest.raises(sky.UsageError, match="no pool is current on a node"):
        dispatch() >> pool
