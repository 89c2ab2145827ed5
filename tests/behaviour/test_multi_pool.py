"""Several pools at once, and pools around functions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import skyward as sky


def test_pools_are_entered_together_and_ended_together(provider: Any, double: Any, where: Any) -> None:
    pools = sky.MultiPool(
        sky.ComputePool(provider, nodes=2, display="quiet"), sky.ComputePool(provider, display="quiet")
    )
    with pools as (wide, narrow):
        assert (wide.instance_count, narrow.instance_count) == (2, 1)
        assert double(1) >> wide == double(1) >> narrow == 2
        assert len(where() @ wide) == 2
        with pytest.raises(sky.UsageError, match="no pool is current"):
            double(1) >> sky
    assert not wide.is_active
    assert not narrow.is_active


def test_pools_are_provisioned_at_the_same_time(provider: Any) -> None:
    import threading

    meet = threading.Barrier(2)

    def on_event(event: Any) -> None:
        if isinstance(event, sky.InfraCreating):
            meet.wait(60)  # passes only when the other pool is being made too

    one, two = (sky.ComputePool(provider, display="quiet", on_event=on_event) for _ in range(2))
    with sky.MultiPool(one, two):
        assert not meet.broken


def test_when_one_fails_the_others_are_taken_down_and_its_error_is_raised(provider: Any, recorder: Any) -> None:
    fine = sky.ComputePool(provider, display="quiet", on_event=recorder)
    impossible = sky.ComputePool(provider, cpu=1_000_000, display="quiet")
    with pytest.raises(sky.NoAvailableProviderError), sky.MultiPool(fine, impossible):
        pytest.fail("was entered")
    assert not fine.is_active
    launched = {event.instance_id for event in recorder.of(sky.InstanceLaunched)}
    assert launched == {event.instance_id for event in recorder.of(sky.InstanceStopping)}
    assert isinstance(recorder.events[-1], sky.ClusterDestroyed)


def test_an_exception_in_the_block_ends_all(provider: Any) -> None:
    one, two = (sky.ComputePool(provider, display="quiet") for _ in range(2))
    with pytest.raises(KeyError, match="mine"), sky.MultiPool(one, two):
        raise KeyError("mine")
    assert not one.is_active
    assert not two.is_active


def test_a_pool_that_is_entered_already_is_refused(provider: Any, double: Any) -> None:
    other = sky.ComputePool(provider, display="quiet")
    with sky.ComputePool(provider, display="quiet") as pool:
        with pytest.raises(sky.UsageError, match="entered already"), sky.MultiPool(other, pool):
            pass
        assert double(1) >> pool == 2
    assert not other.is_active


def test_what_is_no_pool_is_refused(provider: Any) -> None:
    pool = sky.ComputePool(provider)
    with pytest.raises(sky.ConfigurationError, match="argument 2 of MultiPool is Local"):
        sky.MultiPool(pool, sky.Local())  # type: ignore[arg-type]
    with pytest.raises(sky.ConfigurationError, match="got no pool"):
        sky.MultiPool()
    with pytest.raises(sky.ConfigurationError, match="the same pool twice"):
        sky.MultiPool(pool, pool)


def test_coroutines_enter_several_pools_too(provider: Any, double: Any) -> None:
    async def main() -> None:
        one, two = (sky.ComputePool(provider, display="quiet") for _ in range(2))
        async with sky.MultiPool(one, two) as (first, second):
            assert list(await asyncio.gather(first.arun(double(1)), second.arun(double(2)))) == [2, 4]
        assert not one.is_active
        assert not two.is_active
        fine, impossible = sky.ComputePool(provider, display="quiet"), sky.ComputePool(provider, cpu=1_000_000)
        with pytest.raises(sky.NoAvailableProviderError):
            async with sky.MultiPool(fine, impossible):
                pytest.fail("was entered")
        assert not fine.is_active

    asyncio.run(main())


def test_the_decorator_runs_the_function_here_with_a_pool_of_its_own(provider: Any, double: Any, where: Any) -> None:
    import os

    @sky.pool(provider, nodes=2, display="quiet")
    def main(start: int, *, more: int = 0) -> Any:
        """What it does."""
        return os.getpid(), double(start + more) >> sky, where() @ sky, (double(1) & double(2)) >> sky

    assert main.__name__ == "main"
    assert main.__doc__ == "What it does."
    assert main(1, more=4) == (os.getpid(), 10, ((0, 0), (1, 0)), (2, 4))
    with pytest.raises(sky.UsageError, match="no pool is current"):
        double(1) >> sky


def test_each_call_of_the_decorated_function_has_a_new_pool(provider: Any) -> None:
    @sky.compute
    def job() -> str:
        return sky.instance_info().job_id

    @sky.pool(provider, display="quiet")
    def main() -> str:
        return job() >> sky

    assert main() != main()


def test_the_decorated_function_may_call_itself(provider: Any) -> None:
    @sky.compute
    def job() -> str:
        return sky.instance_info().job_id

    @sky.pool(provider, display="quiet")
    def main(depth: int) -> list[str]:
        before = job() >> sky
        deeper = main(depth - 1) if depth else []
        assert job() >> sky == before
        return [before, *deeper]

    assert len(set(main(2))) == 3


def test_an_exception_of_the_decorated_function_goes_on(provider: Any, double: Any) -> None:
    @sky.pool(provider, display="quiet")
    def main() -> None:
        double(1) >> sky
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        main()


def test_a_coroutine_function_gets_an_asynchronous_pool(provider: Any, double: Any) -> None:
    @sky.pool(provider, display="quiet")
    async def main(x: int) -> int:
        return await asyncio.to_thread(lambda: double(x) >> sky)

    assert asyncio.run(main(3)) == 6

    @sky.pool(provider, display="quiet")
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(fail())


def test_the_decorator_checks_its_parameters_where_it_is_written() -> None:
    with pytest.raises(sky.ConfigurationError, match="nodes is 0"):
        sky.pool(nodes=0)
