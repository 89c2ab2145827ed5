"""Dask computes its graphs on ``sky.Executor``."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def executor() -> Iterator[sky.Executor]:
    with sky.Executor(concurrency=2, display="quiet") as executor:
        yield executor


@pytest.fixture
def dask(require: Any) -> Any:
    require.module("dask")
    return importlib.import_module("dask")


def test_a_graph_of_delayed_calls_is_computed_in_the_slots(executor: Any, dask: Any) -> None:
    def square(x: int) -> tuple[int, int]:
        return x * x, os.getpid()

    def total(parts: list[tuple[int, int]]) -> tuple[int, set[int]]:
        return sum(value for value, _ in parts), {process for _, process in parts} | {os.getpid()}

    (found,) = dask.compute(dask.delayed(total)([dask.delayed(square)(n) for n in range(20)]), scheduler=executor)
    assert found[0] == sum(n * n for n in range(20))
    assert os.getpid() not in found[1]
    assert found[1] <= {executor.submit(os.getpid).result(60) for _ in range(100)}


def test_dasks_configuration_takes_it_for_a_block(executor: Any, dask: Any) -> None:
    with dask.config.set(scheduler=executor):
        assert dask.delayed(os.getpid)().compute() != os.getpid()


def test_as_many_tasks_run_at_a_time_as_there_are_slots(executor: Any, dask: Any) -> None:
    begun: list[int] = []
    enough = threading.Event()

    def note(event: sky.TaskStarted) -> None:
        begun.append(event.task_id)
        if len(begun) == 10:
            enough.set()

    unsubscribe = executor.pool.on(sky.TaskStarted, note)
    try:
        dask.compute(*[dask.delayed(abs)(-n) for n in range(10)], scheduler=executor)
        # One task for each call: with a wrong number of workers they would come in batches, and be fewer.
        assert enough.wait(60), begun
    finally:
        unsubscribe()
    assert len(begun) == 10


def test_an_error_of_a_call_is_raised_as_itself(executor: Any, dask: Any) -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        dask.compute(dask.delayed(fail)(), dask.delayed(abs)(-1), scheduler=executor)
    assert dask.compute(dask.delayed(abs)(-1), scheduler=executor) == (1,)


@pytest.mark.slow  # to import dask.array, here and in the slots
def test_arrays_are_computed_block_by_block(executor: Any, dask: Any, require: Any) -> None:
    require.module("numpy")
    numbers = importlib.import_module("dask.array").arange(10_000, chunks=1_000)
    assert int(((numbers + 1) ** 2).sum().compute(scheduler=executor)) == sum((n + 1) ** 2 for n in range(10_000))
