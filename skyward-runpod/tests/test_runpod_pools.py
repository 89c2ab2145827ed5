"""Whole pools: from `with` to the result and back to nothing, on pods that the fake's interface leads to."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fakes.runpod import Fake

import skyward as sky
from skyward_runpod import RunPod

PATIENCE = 120.0
"""Seconds that a test waits for what must come; far more than it takes."""


def until(there: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere."""
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_pool_runs_on_pods_moves_its_deadline_and_leaves_nothing(
    runpod: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    @sky.compute
    def where(x: int) -> tuple[int, int, int]:
        info = sky.instance_info()
        return 2 * x, info.node, info.total_nodes

    caplog.set_level(logging.INFO, "skyward")
    costs: list[Any] = []
    with sky.ComputePool(RunPod(), nodes=2, display="quiet", timeout=1800, on_event=costs.append) as pool:
        assert where(21) @ pool == ((42, 0, 2), (42, 1, 2))
        assert len(runpod.ours) == 2
        before = sorted(pod.name for pod in runpod.ours.values())
        pool.extend(7200)
        after = sorted(pod.name for pod in runpod.ours.values())
        assert all(old < new for old, new in zip(before, after, strict=True))
        said = caplog.text + "".join(runpod.machines[name].logs() for name in runpod.ours)
        keys = [pod.key for pod in runpod.ours.values()]
        switch = [runpod.machines[name].sh("pgrep -f /run/skyward/switch.sh") for name in runpod.ours]
        assert all(switch)
    assert runpod.ours == {}
    assert "RunPod sells no spot machines: what is bought there is bought on demand" in caplog.text
    assert not any(key in said for key in (runpod.token, *keys))
    [final] = [each for each in costs if isinstance(each, sky.CostFinal)]
    assert (final.spot_count, final.ondemand_count) == (0, 2)
    assert not runpod.asked("* /v2/account/*")


@pytest.mark.slow
def test_pods_delete_themselves_when_their_lease_or_their_time_has_run_out(
    runpod: Fake, opened: Any, identity: Any, order: Any
) -> None:
    """Nobody ever logs in to one of them. The third one has time, and stays until it is ended."""

    async def main() -> None:
        late = identity(lease=None, deadline=time.time() + 3.0)
        async with opened(identity(lease=2.0)) as gone, opened(late) as over, opened() as there:
            [lost], [old], [kept] = await order(gone), await order(over), await order(there)
            await asyncio.to_thread(until, lambda: not {lost.id, old.id} & set(runpod.ours))
            assert set(runpod.ours) == {kept.id}
            for each in (lost, old):
                key = next(seen.headers["authorization"] for seen in runpod.asked(f"DELETE /v2/pods/{each.id}"))
                assert key != f"Bearer {runpod.token}", "the account's key is on no pod"
            assert await gone.describe([lost.id, old.id]) == {}
            await there.terminate([kept.id])

    asyncio.run(main())
    assert runpod.ours == {}


@pytest.mark.slow
def test_a_pod_that_answers_long_after_it_runs_is_waited_for(runpod: Fake) -> None:
    @sky.compute
    def answer() -> int:
        return 42

    hold = threading.Event()
    runpod.machines.next(hold=hold)
    threading.Timer(3.0, hold.set).start()  # by its status it runs all the time
    with sky.ComputePool(RunPod(), display="quiet", timeout=1800) as pool:
        assert answer() >> pool == 42
    assert runpod.ours == {}
