"""Functions that run together and bind their processes: which are renewed before the next call, and which are not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward._bound import to_renew
from skyward.spi import current_group
from skyward.worker import pickling
from skyward.worker.bound import Binding

answers = st.dictionaries(st.integers(0, 5), st.sampled_from(["", "one", "two", None]), min_size=1)


@given(answers)
def test_only_what_is_bound_is_renewed_and_then_all_are_alike(told: dict[int, str | None]) -> None:
    renewed = to_renew(told)
    assert all(told[rank] != "" for rank in renewed)
    after = {rank: "" if rank in renewed else bound for rank, bound in told.items()}
    assert len(set(after.values())) == 1
    assert None not in after.values()
    if set(told.values()) in ({""}, {"one"}):
        assert not renewed


def bound_to(size: int) -> str | None:
    state: Any = getattr(sys, "frame_of_this_test", None)
    if state is None:
        return ""
    return state["call"] if state.get("size") == size and state["whole"] else None


def test_a_new_process_is_not_renewed_whatever_it_says() -> None:
    binding = Binding()
    for probe in (lambda size: "something", lambda size: None):
        bound, why = binding.told(pickling.dumps(probe)[0], 2)
        assert bound is None
        assert "new process" in why
    binding.begin(1)
    assert binding.told(pickling.dumps(lambda size: "something")[0], 2) == ("something", "")


def once(fn: Callable[..., Any]) -> sky.ComputeFunction[..., Any]:
    """An integration whose group is formed once in the life of a process: gives that group's name with the result."""

    def around(*args: Any) -> Any:
        group: Any = current_group()
        state: Any = getattr(sys, "frame_of_this_test", None)
        if state is None:
            state = sys.frame_of_this_test = {"call": group.call, "size": group.size}  # type: ignore[attr-defined]
        state["whole"] = False
        result = fn(*args)
        state["whole"] = True
        return state["call"], result

    around.bound_to = bound_to  # type: ignore[attr-defined]
    return sky.ComputeFunction(around, together=True)


@once
def work(failing: int = -1) -> int:
    group: Any = current_group()
    if group.rank == failing:
        raise ValueError("mine")
    return os.getpid()


@sky.compute
def pid() -> int:
    return os.getpid()


@sky.compute
def spoil() -> None:
    sys.frame_of_this_test = {"whole": False}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, display="quiet", lease=60.0) as made:
        yield made


def test_a_group_meets_in_the_same_processes_again_as_long_as_it_is_whole(pool: sky.ComputePool) -> None:
    first = work() @ pool
    assert len({call for call, _ in first}) == 1
    assert pid() @ pool == tuple(each for _, each in first)
    assert work() @ pool == first, "the second call is of the group that the first one has formed"

    with pytest.raises(ValueError, match="mine"):
        work(1) @ pool
    second = work() @ pool
    assert len({call for call, _ in second}) == 1
    assert not {each for _, each in first} & {each for _, each in second}

    spoil() >> pool
    third = work() @ pool
    assert not {each for _, each in second} & {each for _, each in third}, "all begin anew, or none"


def test_a_group_of_one_gets_a_process_that_is_bound_to_no_other(pool: sky.ComputePool) -> None:
    alone: list[Any] = []
    for _ in range(3):  # more often than a task may see slots die before it begins
        together = work() @ pool
        alone = [work() >> pool for _ in range(4)]
        assert not {call for call, _ in together} & {call for call, _ in alone}
        assert not {each for _, each in together} & {each for _, each in alone}
    assert len({each for _, each in alone}) <= 2, "a group of one is bound to itself, and stays in its process"


def test_calls_from_threads_that_bind_to_different_groups_all_end(pool: sky.ComputePool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as threads:
        each = [threads.submit(lambda: work() @ pool) for _ in range(2)]
        each += [threads.submit(lambda: (work() >> pool,)) for _ in range(3)]
        assert all(len({call for call, _ in one.result()}) == 1 for one in each)


def test_what_does_not_go_in_a_new_process_either_is_told(pool: sky.ComputePool) -> None:
    function = sky.ComputeFunction(os.getpid, together=True)
    function.bound_to = lambda size: None  # type: ignore[attr-defined]
    with pytest.raises((sky.TaskError, RuntimeError), match="a new process cannot run this function either"):
        function() @ pool
    with pytest.raises((sky.TaskError, RuntimeError), match="a new process cannot run this function either"):
        function() >> pool


def test_what_an_integration_says_wrongly_is_told(pool: sky.ComputePool) -> None:
    function = sky.ComputeFunction(os.getpid, together=True)
    function.bound_to = lambda size: 1 // (size - size)  # type: ignore[attr-defined]
    with pytest.raises(sky.TaskError, match="getpid cannot: ZeroDivisionError"):
        function() @ pool
    with pytest.raises(ZeroDivisionError):
        function() >> pool
    assert len(pid() @ pool) == 2
