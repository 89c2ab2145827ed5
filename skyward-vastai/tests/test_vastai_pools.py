"""Whole pools: from `with` to the result and back to nothing, on instances that Vast.ai's interface leads to."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from fakes.vastai import Instance, VastAIServer

import skyward as sky
from skyward.spi import MachineLabel
from skyward_vastai import VastAI

PATIENCE = 120.0
POOL = """
import signal
import skyward as sky
from skyward_vastai import VastAI

with sky.ComputePool(VastAI(), allocation="on-demand", lease=20, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


def deadline(instance: Instance) -> float:
    label = MachineLabel.read(instance.label)
    assert label is not None
    assert label.deadline is not None
    return label.deadline


@pytest.mark.slow
def test_a_pool_runs_on_a_bid_and_on_demand_replaces_what_is_outbid_and_leaves_nothing(vastai: VastAIServer) -> None:
    @sky.compute(retry=3)
    def who(x: int) -> tuple[int, int]:
        return 2 * x, sky.instance_info().node

    events: list[Any] = []
    came = threading.Condition()

    def note(event: object) -> None:
        with came:
            events.append(event)
            came.notify_all()

    pool = sky.ComputePool(
        VastAI(), nodes=2, accelerator="RTX-4090", allocation=0.5, display="quiet", timeout=1800, on_event=note
    )
    with pool:
        assert list(who(21) @ pool) == [(42, 0), (42, 1)]
        assert sorted(each.price is not None for each in vastai.ours) == [False, True]
        before = {deadline(each) for each in vastai.ours}
        pool.extend(7200)
        after = {deadline(each) for each in vastai.ours}
        assert len(before) == len(after) == 1
        assert before < after or min(after) > max(before)

        [spot] = [each for each in vastai.ours if each.price is not None]
        vastai.outbid(spot.id)
        with came:
            assert came.wait_for(lambda: any(isinstance(each, sky.NodeReplaced) for each in events), PATIENCE)
        assert sorted(who(21) @ pool) == [(42, 0), (42, 1)]
        preempted = [each.instance_id for each in events if isinstance(each, sky.InstancePreempted)]
        assert preempted == [str(spot.id)]
        assert spot.id not in {each.id for each in vastai.ours}, "its disk would be billed"
        assert len(vastai.ours) == 2
    assert vastai.ours == []
    [final] = [each for each in events if isinstance(each, sky.CostFinal)]
    assert final.ondemand_count == 1


@pytest.mark.slow
def test_an_instance_of_a_client_that_was_killed_destroys_itself_with_its_own_key(vastai: VastAIServer) -> None:
    process = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "in\n"
        [instance] = vastai.ours
    finally:
        process.kill()
        process.communicate()
    while vastai.ours:  # pytest's own limit ends this
        threading.Event().wait(0.05)
    [end] = vastai.asked(f"DELETE /api/v0/instances/{instance.id}")
    assert end.headers["authorization"] == f"Bearer {instance.key}"
