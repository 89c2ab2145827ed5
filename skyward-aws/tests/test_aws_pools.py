"""Whole pools: from `with` to the result and back to nothing, on machines that AWS's interface leads to."""

from __future__ import annotations

import base64
import os
import re
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


@pytest.mark.slow
def test_a_pool_falls_back_to_on_demand_for_what_spot_lacks_and_lives_as_long_as_its_budget_lasts(
    aws: Rig, settings: AWS
) -> None:
    @sky.compute
    def where() -> int:
        return sky.instance_info().node

    aws.market.limit(1, market="spot")
    seen: list[Any] = []
    limits: dict[str, Any] = {"budget": 0.1, "max_hourly_cost": 0.3, "timeout": 7200}
    with sky.ComputePool(settings, nodes=2, display="quiet", on_event=seen.append, **limits) as pool:
        assert list(where() @ pool) == [0, 1]
        ec2 = boto3.client("ec2")
        machines = [each for row in ec2.describe_instances()["Reservations"] for each in row["Instances"]]
        assert sorted(each.get("InstanceLifecycle", "on-demand") for each in machines) == ["on-demand", "spot"]
        bought = [each for each in seen if isinstance(each, sky.InstanceProvisioned)]
        rate = sum((each.price_spot if each.spot else each.price_on_demand) or 0.0 for each in bought)
        end, start = max(deadlines(machines)), min(each["LaunchTime"].timestamp() for each in machines)
        assert len({*deadlines(machines)}) == 1
        assert 0.08 < rate * (end - start) / 3600 <= 0.1
        for each in machines:  # what it ends itself by, if nobody ever tells it more
            asked: dict[str, Any] = {"InstanceId": each["InstanceId"], "Attribute": "userData"}
            text = base64.b64decode(ec2.describe_instance_attribute(**asked)["UserData"]["Value"]).decode()
            found = re.search(r"switch\.sh (\d+) ", text)
            assert found is not None
            assert 60 <= int(found[1]) <= end - start
    assert aws.left() == {}
    [final] = [each for each in seen if isinstance(each, sky.CostFinal)]
    assert (final.spot_count, final.ondemand_count) == (1, 1)
    assert rate * 60 / 3600 <= final.total_cost <= 0.1, "a minute is paid at least"


def deadlines(machines: list[Any]) -> list[float]:
    tags = [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in machines]
    return sorted(float(each["skyward-deadline"]) for each in tags)
