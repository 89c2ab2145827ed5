"""The awaitable forms, and what is refused inside a running event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import skyward as sky


def test_the_awaitable_forms_give_what_the_operators_give(pool: sky.ComputePool, double: Any, where: Any) -> None:
    async def main() -> None:
        assert await pool.arun(double(2)) == 4
        assert await pool.arun_batch(double(1) & double(2)) == (2, 4)
        assert await pool.arun_batch(sky.gather()) == ()
        assert await pool.abroadcast(where()) == ((0, 0), (1, 0))

    asyncio.run(main())


def test_many_calls_may_be_awaited_at_once(pool: sky.ComputePool, double: Any) -> None:
    async def main() -> Any:
        return await asyncio.gather(*(pool.arun(double(number)) for number in range(200)))

    assert asyncio.run(main()) == list(range(0, 400, 2))


def test_a_pool_may_be_entered_and_left_without_blocking_the_loop(provider: Any, double: Any) -> None:
    async def main() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        heart = asyncio.create_task(beat())
        async with sky.ComputePool(provider, display="quiet") as pool:
            assert beats > 1
            assert repr(pool).endswith("active>")
            assert await pool.arun(double(1)) == 2
            before = beats
        assert beats > before
        assert repr(pool).endswith("ended>")
        heart.cancel()

    asyncio.run(main())


def test_the_exceptions_of_tasks_are_raised_where_they_are_awaited(pool: sky.ComputePool, fail: Any) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="one"):
            await pool.arun(fail("one"))
        with pytest.raises(ValueError, match="two"):
            await pool.arun_batch(sky.gather(fail("two"), fail("three")))
        found = await pool.arun_batch(sky.gather(fail("four"), return_exceptions=True))
        assert str(found[0]) == "four"
        with pytest.raises(ValueError, match="five"):
            await pool.abroadcast(fail("five"))

    asyncio.run(main())


def test_an_exception_inside_the_block_ends_the_pool_and_goes_on(provider: Any) -> None:
    async def main() -> sky.ComputePool:
        pool = sky.ComputePool(provider, display="quiet")
        with pytest.raises(ZeroDivisionError):
            async with pool:
                1 / 0  # noqa: B018
        return pool

    assert not asyncio.run(main()).is_active


def test_cancelling_a_call_interrupts_its_task_and_leaves_the_pool_usable(
    pool: sky.ComputePool, listen: Any, double: Any
) -> None:
    @sky.compute
    def endless() -> None:
        import threading

        try:
            print("begun", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise

    seen = listen(pool)

    async def main() -> None:
        running = asyncio.create_task(pool.arun(endless()))
        await asyncio.to_thread(seen.line, "begun")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.to_thread(seen.line, "interrupted")
        assert await pool.arun_batch(double(1) & double(2)) == (2, 4)

    asyncio.run(main())
    seen.end("endless")  # so that the next test finds the pool idle


def test_cancelling_a_batch_drops_what_waits(roomy: sky.ComputePool, listen: Any, double: Any) -> None:
    @sky.compute
    def endless(number: int) -> None:
        import threading

        print("begun", number, flush=True)
        threading.Event().wait()

    seen = listen(roomy)

    async def main() -> None:
        running = asyncio.create_task(roomy.arun_batch(sky.gather(*(endless(number) for number in range(10)))))
        await asyncio.to_thread(seen.line, "begun 0")
        await asyncio.to_thread(seen.line, "begun 1")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await roomy.arun(double(1)) == 2

    asyncio.run(main())
    assert len(seen.of(sky.LogLine)) == 2


def test_a_time_limit_of_asyncio_stops_the_task(roomy: sky.ComputePool, double: Any) -> None:
    @sky.compute
    def endless() -> None:
        import threading

        threading.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await roomy.arun(endless())
        assert await roomy.arun(double(1)) == 2

    asyncio.run(main())


def test_stop_iteration_of_a_task_arrives_as_the_cause_of_an_error(pool: sky.ComputePool) -> None:
    @sky.compute
    def stop() -> None:
        next(iter(()))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="stop raised StopIteration") as caught:
            await pool.arun(stop())
        assert isinstance(caught.value.__cause__, StopIteration)

    asyncio.run(main())
    with pytest.raises(StopIteration):
        stop() >> pool
    assert isinstance(pool.submit(stop()).exception(), StopIteration)


def test_blocking_forms_are_refused_in_a_running_loop_with_the_awaitable_one(
    pool: sky.ComputePool, provider: Any, double: Any
) -> None:
    async def main() -> None:
        with pytest.raises(sky.UsageError, match=r"await pool\.arun\(pending\)"):
            double(1) >> pool
        with pytest.raises(sky.UsageError, match=r"await pool\.arun_batch\(batch\)"):
            (double(1) & double(2)) >> pool
        with pytest.raises(sky.UsageError, match=r"await pool\.abroadcast\(pending\)"):
            double(1) @ pool
        with pytest.raises(sky.UsageError, match=r"async with sky\.ComputePool"), sky.ComputePool(provider):
            pass
        with pytest.raises(sky.UsageError, match=r"async with sky\.MultiPool"):
            sky.MultiPool(sky.ComputePool(provider)).__enter__()
        with pytest.raises(sky.UsageError, match=r"pool\.executor\(\)"), sky.Executor(provider):
            pass

    asyncio.run(main())


def test_blocking_forms_work_in_a_thread_beside_the_loop(pool: sky.ComputePool, double: Any) -> None:
    async def main() -> int:
        return await asyncio.to_thread(lambda: double(4) >> pool)

    assert asyncio.run(main()) == 8


def test_the_current_pool_of_a_coroutine_is_its_own(provider: Any) -> None:
    @sky.compute
    def job() -> str:
        return sky.instance_info().job_id

    async def one(meet: asyncio.Barrier) -> tuple[str, str]:
        async with sky.ComputePool(provider, display="quiet") as pool:
            await meet.wait()
            return await asyncio.to_thread(lambda: job() >> sky), await pool.arun(job())

    async def main() -> None:
        meet = asyncio.Barrier(2)
        first, second = await asyncio.gather(one(meet), one(meet))
        assert first[0] == first[1]
        assert second[0] == second[1]
        assert first[0] != second[0]

    asyncio.run(main())


def test_cancelling_the_entry_leaves_nothing_behind(
    provider: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyward._node import Node

    monkeypatch.setattr(Node, "start", lambda *_: asyncio.Event().wait())  # no machine is ready before the cancellation

    async def main() -> sky.ComputePool:
        pool = sky.ComputePool(provider, display="quiet", on_event=recorder)

        async def enter() -> None:
            async with pool:
                pytest.fail("was entered")

        entering = asyncio.create_task(enter())
        await asyncio.to_thread(recorder.wait, lambda event: isinstance(event, sky.InfraCreating))
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        return pool

    pool = asyncio.run(main())
    assert "failed to start" in repr(pool)
    launched = {event.instance_id for event in recorder.of(sky.InstanceLaunched)}
    assert launched == {event.instance_id for event in recorder.of(sky.InstanceStopping)}
    assert not [thread for thread in threading.enumerate() if thread.name == "skyward-loop" and pool.is_active]


def test_a_callback_that_needs_the_loop_does_not_stall_it(provider: Any, double: Any) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        names: list[str] = []

        async def note(event: Any) -> None:
            names.append(type(event).__name__)

        def on_event(event: Any) -> None:
            asyncio.run_coroutine_threadsafe(note(event), loop).result(30)

        async with sky.ComputePool(provider, display="quiet", on_event=on_event) as pool:
            assert await pool.arun(double(1)) == 2
        return names

    names = asyncio.run(main())
    assert "TaskCompleted" in names
    assert names[-1] == "ClusterDestroyed"


NOTEBOOK = """
    import asyncio, sys, types
    import skyward as sky

    class ZMQInteractiveShell: ...
    class Shell(ZMQInteractiveShell): ...

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: Shell()
    sys.modules["IPython"] = ipython

    @sky.compute
    def double(x): return 2 * x

    async def cell():
        with sky.ComputePool(PROVIDER, display="DISPLAY") as pool:
            print(double(1) >> pool, (double(2) & double(3)) >> pool, double(4) @ pool)
            print(double(5) >> sky, await pool.arun(double(6)))

    asyncio.run(cell())
"""


@pytest.mark.parametrize("display", ["quiet", "log", "spinner"])
def test_a_notebooks_cell_may_block_its_loop(script: Any, display: str) -> None:
    assert script(NOTEBOOK.replace("DISPLAY", display)).stdout.split("\n")[:2] == ["2 (4, 6) (8,)", "10 12"]
