"""Whole pools: from `with` to the result and back to nothing, on machines that AWS's interface leads to."""

from __future__ import annotations

import os
from typing import Any

import boto3
import pytest
from rig.rig import Rig

import skyward as sky
from skyward_aws import AWS


@pytest.mark.slow
def test_a_pool_runs_on_spot_and_on_demand_tells_its_deadline_and_leaves_nothing(aws: Rig, settings: AWS) -> None:
    @sky.compute
    def who(x: int) -> tuple[int, int]:
        return 2 * x, os.getuid()

    costs: list[Any] = []
    with sky.ComputePool(
        settings, nodes=2, allocation=0.5, display="quiet", timeout=1800, on_event=costs.append
    ) as pool:
        assert [result for result, _ in who(21) @ pool] == [42, 42]
        machines = [
            each for row in boto3.client("ec2").describe_instances()["Reservations"] for each in row["Instances"]
        ]
        assert sorted(each.get("InstanceLifecycle", "on-demand") for each in machines) == ["on-demand", "spot"]
        before = deadlines(machines)
        pool.extend(7200)
        rows = boto3.client("ec2").describe_instances()["Reservations"]
        after = deadlines([each for row in rows for each in row["Instances"]])
        assert len({*before}) == len({*after}) == 1
        assert before < after
    assert aws.left() == {}
    [final] = [each for each in costs if isinstance(each, sky.CostFinal)]
    assert (final.spot_count, final.ondemand_count) == (1, 1)
    assert final.savings_vs_ondemand > 0


def deadlines(machines: list[Any]) -> list[float]:
    tags = [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in machines]
    return sorted(float(each["skyward-deadline"]) for each in tags)
