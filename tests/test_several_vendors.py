"""One pool, three vendors: the first is sold out, the second's machine dies while it boots, the third serves."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from fakes.fixtures import runpod as runpod
from fakes.fixtures import vastai as vastai
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.runpod import Fake as RunPodServer
from fakes.runpod.server import SOLD_OUT
from fakes.vastai import VastAIServer
from rig.fixtures import aws as aws
from rig.fixtures import rig_server as rig_server
from rig.rig import Rig

import skyward as sky
from skyward_aws import AWS
from skyward_runpod import RunPod
from skyward_vastai import VastAI

pytestmark = [pytest.mark.slow, pytest.mark.containers]

EVER = 10**6


def die_while_they_boot(vastai: VastAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container of each instance is killed as soon as it is there."""
    start = vastai.machines.start

    def doomed(name: str, **more: Any) -> Any:
        machine = start(name, **more)
        threading.Thread(target=vastai.machines.kill, args=(name,)).start()
        return machine

    monkeypatch.setattr(vastai.machines, "start", doomed)


def test_a_pool_turns_from_who_is_sold_out_and_from_whose_machine_dies_to_who_serves(
    runpod: RunPodServer, vastai: VastAIServer, aws: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @sky.compute
    def where(x: int) -> tuple[int, int]:
        return 2 * x, sky.instance_info().node

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runpod.gpus["NVIDIA A100-SXM4-80GB"].price["secure"] = 0.70
    runpod.faults.fail("POST /v2/pods", 400, body=SOLD_OUT, times=EVER)
    die_while_they_boot(vastai, monkeypatch)
    for ask in vastai.market.asks:
        ask.listed = ask.gpu_name == "A100 PCIE"  # one, at $0.91; AWS has machines with eight, at $41

    events: list[Any] = []
    pool = sky.ComputePool(
        [AWS(ssh_from="198.51.100.7/32"), VastAI(), RunPod()],  # the dearest first: the price decides
        accelerator="A100",
        selection="cheapest",
        allocation="on-demand",
        display="quiet",
        timeout=1800,
        on_event=events.append,
    )
    with pool:
        assert where(21) >> pool == (42, 0)
        assert len(aws.existing()) == 1
        assert (runpod.ours, vastai.ours) == ({}, [])

    [*lost, serves] = [each for each in events if isinstance(each, sky.InstanceLaunched)]
    assert {each.provider for each in lost} == {"VastAI"}
    assert serves.provider == "AWS"
    ready = [each.provider for each in events if isinstance(each, sky.InstanceProvisioned)]
    assert ready == ["AWS"]
    assert runpod.asked("POST /v2/pods"), "the cheapest is asked first"
    assert len(vastai.asked("PUT /api/v0/asks/*")) == len(lost)
    for each in lost:
        assert vastai.asked(f"DELETE /api/v0/instances/{each.instance_id}"), "it would be billed for its disk"
    assert (runpod.ours, vastai.ours, aws.left()) == ({}, [], {})
