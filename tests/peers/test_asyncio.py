"""An event loop runs work in ``sky.Executor``, as in its own executors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def executor() -> Iterator[sky.Executor]:
    with sky.Executor(display="quiet") as executor:
        yield executor


def test_results_and_errors_of_calls_are_awaited(executor: Any) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, divmod, 7, number) for number in (2, 0, 3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first, third) == ((3, 1), (2, 1))
    assert isinstance(second, ZeroDivisionError)


def test_cancelling_drops_a_call_that_waits_and_leaves_one_that_runs(executor: Any, tmp_path: Any) -> None:
    mark = tmp_path / "mark"

    def wait(path: str) -> str:
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.01)
        return "done"

    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        running = executor.submit(wait, str(mark))
        waiting = executor.submit(abs, -1)
        tasks = [asyncio.wrap_future(running), asyncio.wrap_future(waiting)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop hands a cancellation on when it comes round
        states = [task.cancelled() for task in tasks] + [running.cancelled(), waiting.cancelled()]
        mark.touch()
        assert await loop.run_in_executor(executor, abs, -2) == 2
        assert running.result(60) == "done"
        return states

    assert asyncio.run(main()) == [True, True, False, True]


def test_a_time_limit_gives_up_waiting_and_the_executor_goes_on(executor: Any, tmp_path: Any) -> None:
    mark = tmp_path / "mark"

    def wait(path: str) -> None:
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.01)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await loop.run_in_executor(executor, wait, str(mark))
        mark.touch()
        found: int = await loop.run_in_executor(executor, abs, -2)
        return found

    assert asyncio.run(main()) == 2


def test_it_may_be_a_loops_executor_for_a_while_beside_to_thread(executor: Any) -> None:
    async def main() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.to_thread(executor.submit(abs, -n).result, 60)) for n in range(5)]
        return [task.result() for task in tasks]

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_machines_are_not_bought_inside_a_loop_which_that_would_block() -> None:
    async def main() -> None:
        executor = sky.Executor(display="quiet")
        await asyncio.get_running_loop().run_in_executor(executor, abs, -1)

    with pytest.raises(sky.UsageError, match=r"async with sky\.ComputePool.* and use `pool\.executor\(\)`"):
        asyncio.run(main())


def test_an_executor_over_a_pool_that_a_coroutine_has_entered_serves_its_loop() -> None:
    async def main() -> int:
        async with sky.ComputePool(display="quiet") as pool:
            found: int = await asyncio.get_running_loop().run_in_executor(pool.executor(), abs, -3)
            return found

    assert asyncio.run(main()) == 3
