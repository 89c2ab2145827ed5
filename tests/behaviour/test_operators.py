"""What ``>>``, ``@``, ``&`` and ``gather`` promise."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


def test_a_call_runs_elsewhere_and_gives_its_result(pool: sky.ComputePool) -> None:
    @sky.compute
    def process() -> int:
        import os

        return os.getpid()

    import os

    assert process() >> pool != os.getpid()


def test_arguments_and_keywords_arrive(pool: sky.ComputePool) -> None:
    @sky.compute
    def echo(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert echo(1, [2, {"three": 3}], key=(4, None), other=b"x" * 100_000) >> pool == (
        (1, [2, {"three": 3}]),
        {"key": (4, None), "other": b"x" * 100_000},
    )


def test_local_runs_the_function_here(pool: sky.ComputePool, double: Any) -> None:
    assert double.local(4) == 8


def test_a_pending_may_be_dispatched_again(pool: sky.ComputePool) -> None:
    @sky.compute
    def number() -> int:
        import itertools

        return next(itertools.count(7))

    pending = number()
    assert [pending >> pool, pending >> pool] == [7, 7]
    assert pending @ pool == (7, 7)


def test_a_batch_gives_its_results_in_the_order_written(pool: sky.ComputePool, double: Any) -> None:
    assert (double(1) & double(2) & double(3)) >> pool == (2, 4, 6)
    assert ((double(1) & double(2)) & (double(3) & double(4))) >> pool == (2, 4, 6, 8)


def test_gather_takes_a_thousand_calls_and_keeps_their_order(pool: sky.ComputePool, double: Any) -> None:
    assert sky.gather(*(double(x) for x in range(1000))) >> pool == tuple(range(0, 2000, 2))


def test_gather_of_nothing_is_an_empty_tuple(pool: sky.ComputePool) -> None:
    assert sky.gather() >> pool == ()


def test_results_keep_their_order_whatever_ends_first(roomy: sky.ComputePool, gate: Any) -> None:
    @sky.compute
    def last() -> str:
        gate.wait()
        return "ended last"

    @sky.compute
    def first() -> str:
        gate.open()
        return "ended first"

    assert (last() & first()) >> roomy == ("ended last", "ended first")


def test_the_first_error_in_the_batchs_order_is_raised_after_all_have_ended(
    roomy: sky.ComputePool, listen: Any, gate: Any, fail: Any
) -> None:
    seen = listen(roomy)

    @sky.compute
    def slow_failure() -> None:
        gate.wait()
        raise KeyError("the first in order, and the last to fail")

    @sky.compute
    def release() -> str:
        gate.open()
        return "the end"

    with pytest.raises(KeyError, match="the first in order"):
        sky.gather(slow_failure(), fail("quick"), release()) >> roomy
    ended = seen.of(sky.TaskCompleted)
    assert [event.succeeded for event in sorted(ended, key=lambda event: event.task_id)] == [False, False, True]


def test_gather_gives_exceptions_in_place_when_asked(pool: sky.ComputePool, double: Any, fail: Any) -> None:
    first, second, third = sky.gather(double(1), fail("bad"), double(3), return_exceptions=True) >> pool
    assert (first, third) == (2, 6)
    assert isinstance(second, ValueError)
    assert second.args == ("bad",)


def test_a_broadcast_runs_once_on_every_node_in_node_order(pool: sky.ComputePool) -> None:
    @sky.compute
    def info() -> sky.InstanceInfo:
        return sky.instance_info()

    found = info() @ pool
    assert [one.node for one in found] == [0, 1]
    assert [one.is_head for one in found] == [True, False]
    assert {one.total_nodes for one in found} == {2}
    assert {one.workers_per_node for one in found} == {1}
    assert len({one.job_id for one in found}) == 1
    assert len({(one.head_addr, one.head_port) for one in found}) == 1
    assert found[0].head_port > 0


def test_a_broadcast_raises_the_first_error_in_node_order(pool: sky.ComputePool) -> None:
    @sky.compute
    def fail_everywhere() -> None:
        raise LookupError(f"on node {sky.instance_info().node}")

    with pytest.raises(LookupError, match="on node 0"):
        fail_everywhere() @ pool


def test_slots_of_a_node_have_their_own_index(roomy: sky.ComputePool, where: Any, gate: Any) -> None:
    @sky.compute
    def wait() -> int:
        gate.wait()
        return sky.instance_info().worker

    @sky.compute
    def release() -> int:
        gate.open()
        return sky.instance_info().worker

    assert sorted((wait() & release()) >> roomy) == [0, 1]


def test_data_is_sharded_over_the_nodes(pool: sky.ComputePool) -> None:
    @sky.compute
    def mine(data: list[int]) -> Any:
        return sky.shard(data, shuffle=True, seed=3)

    parts = mine(list(range(11))) @ pool
    assert sorted(x for part in parts for x in part) == list(range(11))
    assert len(parts) == 2


def test_large_results_and_arguments_cross_unharmed(pool: sky.ComputePool) -> None:
    @sky.compute
    def reverse(data: bytes) -> bytes:
        return data[::-1]

    data = bytes(range(256)) * 40_000
    assert reverse(data) >> pool == data[::-1]
    assert reverse(data) @ pool == (data[::-1],) * 2


def test_numpy_arrays_cross_and_are_writable(pool: sky.ComputePool) -> None:
    import numpy as np

    @sky.compute
    def increment(array: Any) -> Any:
        array += 1
        return array

    result = increment(np.zeros((300, 300))) >> pool
    assert result.sum() == 90_000
    result[0, 0] = 5


def test_what_a_function_captures_is_looked_at_at_each_call(pool: sky.ComputePool) -> None:
    captured = [1]

    @sky.compute
    def read() -> list[int]:
        return captured

    assert read() >> pool == [1]
    captured.append(2)
    assert read() >> pool == [1, 2]


def test_one_task_does_not_see_another_ones_changes_to_its_arguments(pool: sky.ComputePool) -> None:
    @sky.compute
    def extend(values: list[int]) -> list[int]:
        values.append(0)
        return values

    pending = extend([1])
    assert pending @ pool == ([1, 0], [1, 0])
    assert pending >> pool == [1, 0]
