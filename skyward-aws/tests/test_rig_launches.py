"""The rig answers where moto does not: launches, fleets, client tokens, lateness, faults. By boto3, over HTTP."""

from __future__ import annotations

import base64
import threading
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from rig import Rig

IMAGE = "resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})


@pytest.fixture
def ec2(aws_api: Rig) -> Any:
    return boto3.client("ec2", config=ONCE)


def code(problem: pytest.ExceptionInfo[ClientError]) -> str:
    return problem.value.response["Error"]["Code"]


def run(ec2: Any, number: int = 1, **asked: Any) -> list[str]:
    given = {"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": number, "MaxCount": number, **asked}
    return [each["InstanceId"] for each in ec2.run_instances(**given)["Instances"]]


def listed(ec2: Any, **asked: Any) -> list[dict[str, Any]]:
    return [each for group in ec2.describe_instances(**asked)["Reservations"] for each in group["Instances"]]


def template(ec2: Any, **data: Any) -> dict[str, str]:
    group = ec2.create_security_group(GroupName="mine", Description="mine")["GroupId"]
    disk = {"VolumeSize": 50, "Encrypted": True, "DeleteOnTermination": True}
    made = ec2.create_launch_template(
        LaunchTemplateName="mine",
        LaunchTemplateData={
            "ImageId": IMAGE,
            "SecurityGroupIds": [group],
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required"},
            "UserData": base64.b64encode(b"#!/bin/sh\ntrue\n").decode(),
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "of", "Value": "template"}]},
                {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "template"}]},
            ],
            **data,
        },
    )
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}


def fleet(ec2: Any, pools: list[tuple[str, str]], number: int = 1, market: str = "on-demand", **asked: Any) -> Any:
    subnets = {each["AvailabilityZone"]: each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]}
    overrides = [{"InstanceType": kind, "SubnetId": subnets[f"us-east-1{zone}"]} for kind, zone in pools]
    return ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template(ec2), "Overrides": overrides}],
        TargetCapacitySpecification={"TotalTargetCapacity": number, "DefaultTargetCapacityType": market},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "pool", "Value": "one"}]}],
        **asked,
    )


# ---- client tokens


def test_a_client_token_buys_once(ec2: Any, aws_api: Rig) -> None:
    assert run(ec2, ClientToken="a") == run(ec2, ClientToken="a") != run(ec2, ClientToken="b")
    assert len(aws_api.existing()) == 2


def test_a_client_token_with_other_parameters_is_refused(ec2: Any, aws_api: Rig) -> None:
    run(ec2, ClientToken="a")
    with pytest.raises(ClientError) as problem:
        run(ec2, 2, ClientToken="a")
    assert code(problem) == "IdempotentParameterMismatch"
    assert len(aws_api.existing()) == 1


# ---- fleets


def test_a_fleet_takes_the_cheapest_pool_and_what_its_template_says(ec2: Any) -> None:
    made = fleet(ec2, [("c7i.large", "a"), ("t3.micro", "c")], 2)
    (bought,) = made["Instances"]
    assert (bought["InstanceType"], bought["Lifecycle"], len(bought["InstanceIds"])) == ("t3.micro", "on-demand", 2)
    assert made["Errors"] == []
    found = listed(ec2, Filters=[{"Name": "tag:aws:ec2:fleet-id", "Values": [made["FleetId"]]}])
    assert sorted(each["InstanceId"] for each in found) == sorted(bought["InstanceIds"])
    first = found[0]
    assert first["Placement"]["AvailabilityZone"] == "us-east-1c"
    assert first["MetadataOptions"]["HttpTokens"] == "required"
    assert {each["GroupName"] for each in first["SecurityGroups"]} == {"mine"}
    tags = {each["Key"]: each["Value"] for each in first["Tags"]}
    assert tags == {"of": "template", "pool": "one", "aws:ec2:fleet-id": made["FleetId"]}
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [first["InstanceId"]]}])[
        "Volumes"
    ]
    assert (volume["Size"], volume["Encrypted"], volume["Tags"]) == (50, True, [{"Key": "of", "Value": "template"}])
    behaviour = ec2.describe_instance_attribute(
        InstanceId=first["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_a_fleet_goes_on_with_the_next_pool_and_tells_what_was_refused(ec2: Any, aws_api: Rig) -> None:
    aws_api.market.limit(1, zone="us-east-1a", market="spot")
    aws_api.market.refuse("Unsupported", zone="us-east-1b")
    made = fleet(ec2, [("t3.micro", "a"), ("t3.micro", "b"), ("t3.micro", "c")], 3, "spot")
    zones = {each["InstanceId"]: each["Placement"]["AvailabilityZone"] for each in listed(ec2)}
    assert [[zones[name] for name in each["InstanceIds"]] for each in made["Instances"]] == [
        ["us-east-1a"],
        ["us-east-1c"] * 2,
    ]
    assert [each["ErrorCode"] for each in made["Errors"]] == ["InsufficientInstanceCapacity", "Unsupported"]
    refused = made["Errors"][1]["LaunchTemplateAndOverrides"]
    assert refused["Overrides"]["InstanceType"] == "t3.micro"
    assert refused["LaunchTemplateSpecification"]["LaunchTemplateId"].startswith("lt-")
    assert {each["InstanceLifecycle"] for each in listed(ec2)} == {"spot"}
    assert all(each["SpotInstanceRequestId"].startswith("sir-") for each in listed(ec2))


def test_a_fleet_below_its_least_capacity_buys_nothing(ec2: Any, aws_api: Rig) -> None:
    aws_api.market.limit(2)
    least = {"MinTargetCapacity": 3, "SingleAvailabilityZone": True}
    made = fleet(ec2, [("t3.micro", "a")], 3, OnDemandOptions=least)
    assert (made["Instances"], len(made["Errors"])) == ([], 1)
    assert not aws_api.existing()


def test_a_fleet_buys_both_markets_in_their_shares(ec2: Any) -> None:
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    configs = [
        {"LaunchTemplateSpecification": template(ec2, InstanceType="t3.micro"), "Overrides": [{"SubnetId": subnet}]}
    ]
    share = {"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, "SpotTargetCapacity": 2}
    capacity = {**share, "DefaultTargetCapacityType": "spot"}
    made = ec2.create_fleet(Type="instant", LaunchTemplateConfigs=configs, TargetCapacitySpecification=capacity)
    assert {each["Lifecycle"]: len(each["InstanceIds"]) for each in made["Instances"]} == {"on-demand": 1, "spot": 2}


def test_a_price_that_is_too_low_buys_no_spot(ec2: Any) -> None:
    market = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.0001"}}
    with pytest.raises(ClientError) as problem:
        run(ec2, InstanceMarketOptions=market)
    assert code(problem) == "SpotMaxPriceTooLow"


# ---- capacity and quotas


def test_capacity_comes_back_when_instances_end(ec2: Any, aws_api: Rig) -> None:
    aws_api.market.limit(1, kind="t3.*")
    (first,) = run(ec2)
    with pytest.raises(ClientError) as problem:
        run(ec2)
    assert code(problem) == "InsufficientInstanceCapacity"
    assert problem.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    ec2.terminate_instances(InstanceIds=[first])
    assert run(ec2)


@pytest.mark.parametrize(
    ("market", "quota", "refused"),
    [({}, "L-1216C47A", "VcpuLimitExceeded"), ({"MarketType": "spot"}, "L-34B43A08", "MaxSpotInstanceCountExceeded")],
)
def test_quotas_are_of_virtual_processors_per_market(
    ec2: Any, aws_api: Rig, market: dict[str, str], quota: str, refused: str
) -> None:
    aws_api.market.quotas[quota] = 5
    asked: dict[str, Any] = {"InstanceMarketOptions": market} if market else {}
    run(ec2, 2, **asked)
    with pytest.raises(ClientError) as problem:
        run(ec2, **asked)
    assert code(problem) == refused
    assert run(ec2, InstanceType="g5.xlarge", **asked), "another family has another quota"


# ---- faults


def test_an_error_by_script_has_no_effect_and_comes_when_it_is_told_to(ec2: Any, aws_api: Rig) -> None:
    aws_api.faults.fail("RunInstances", "InternalError", 500, after=1)
    run(ec2)
    with pytest.raises(ClientError) as problem:
        run(ec2)
    assert (code(problem), len(aws_api.existing())) == ("InternalError", 1)
    assert run(ec2)


def test_botocore_goes_on_after_throttling(aws_api: Rig) -> None:
    aws_api.faults.throttle("DescribeInstances", times=2)
    config = Config(retries={"total_max_attempts": 3, "mode": "standard"})
    assert listed(boto3.client("ec2", config=config)) == []
    assert aws_api.calls["ec2:DescribeInstances"] == 3


def test_a_lost_reply_has_had_its_effect(ec2: Any, aws_api: Rig) -> None:
    aws_api.faults.lose("CreateFleet")
    with pytest.raises(ConnectionClosedError):
        fleet(ec2, [("t3.micro", "a")])
    assert len(aws_api.existing()) == 1


def test_a_call_waits_as_long_as_it_is_told_to(ec2: Any, aws_api: Rig) -> None:
    held, go = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        assert go.wait(60)

    aws_api.faults.delay("RunInstances", wait)
    caller = threading.Thread(target=run, args=(ec2,))
    caller.start()
    assert held.wait(60)
    assert not aws_api.existing()
    go.set()
    caller.join()
    assert len(aws_api.existing()) == 1


def test_unknown_keys_are_refused_by_each_service_in_its_way(aws_api: Rig) -> None:
    bad: Any = {"aws_access_key_id": "AKIANOBODY", "aws_secret_access_key": "x"}
    calls: dict[str, Any] = {
        "AuthFailure": lambda: boto3.client("ec2", **bad).describe_regions(),
        "InvalidClientTokenId": lambda: boto3.client("sts", **bad).get_caller_identity(),
        "UnrecognizedClientException": lambda: boto3.client("ssm", **bad).get_parameter(Name="x"),
    }
    for expected, call in calls.items():
        with pytest.raises(ClientError) as problem:
            call()
        assert code(problem) == expected


def test_a_policy_refuses_what_it_does_not_name_and_what_that_needs(ec2: Any, aws_api: Rig) -> None:
    aws_api.allow("ec2:Describe*", "ec2:RunInstances")
    ec2.describe_instances()
    with pytest.raises(ClientError) as problem:
        run(ec2)
    assert (code(problem), "ec2:CreateTags" in str(problem.value)) == ("UnauthorizedOperation", True)


# ---- how late things are seen


def test_a_new_instance_is_not_known_for_as_many_calls_as_told(ec2: Any, aws_api: Rig) -> None:
    aws_api.lag.unseen = 2
    (instance,) = run(ec2)
    with pytest.raises(ClientError) as problem:
        ec2.describe_instances(InstanceIds=[instance])
    assert code(problem) == "InvalidInstanceID.NotFound"
    assert listed(ec2) == []
    assert [each["InstanceId"] for each in listed(ec2)] == [instance]


def test_filters_by_tags_find_a_new_instance_later_than_its_id_does(ec2: Any, aws_api: Rig) -> None:
    aws_api.lag.untagged = 1
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "pool", "Value": "one"}]}]
    (instance,) = run(ec2, TagSpecifications=tags)
    wanted = [{"Name": "tag:pool", "Values": ["one"]}]
    assert len(listed(ec2, InstanceIds=[instance])) == 1
    assert [len(listed(ec2, Filters=wanted)) for _ in range(2)] == [0, 1]


def test_an_instance_is_pending_without_address_and_shuts_down_before_it_is_gone(ec2: Any, aws_api: Rig) -> None:
    aws_api.lag.pending = aws_api.lag.shutting_down = 2
    told = ec2.run_instances(ImageId=IMAGE, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]
    assert (told["State"]["Name"], "PublicIpAddress" in told) == ("pending", False)
    seen = [listed(ec2)[0] for _ in range(3)]
    assert [each["State"]["Name"] for each in seen] == ["pending", "pending", "running"]
    assert ["PublicIpAddress" in each for each in seen] == [False, False, True]
    ec2.terminate_instances(InstanceIds=[told["InstanceId"]])
    ended = [listed(ec2)[0] for _ in range(3)]
    assert [each["State"]["Name"] for each in ended] == ["shutting-down", "shutting-down", "terminated"]
    assert ended[-1]["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_filters_by_state_and_market_go_by_what_is_told(ec2: Any) -> None:
    run(ec2)
    (spot,) = run(ec2, InstanceMarketOptions={"MarketType": "spot"})
    wanted = [{"Name": "instance-lifecycle", "Values": ["spot"]}]
    assert [each["InstanceId"] for each in listed(ec2, Filters=wanted)] == [spot]
    running = [*wanted, {"Name": "instance-state-name", "Values": ["running"]}]
    assert len(listed(ec2, Filters=running)) == 1


def test_a_group_in_use_stays_until_its_instances_are_gone(ec2: Any, aws_api: Rig) -> None:
    made = fleet(ec2, [("t3.micro", "a")])
    group = ec2.describe_security_groups(GroupNames=["mine"])["SecurityGroups"][0]["GroupId"]
    ec2.terminate_instances(InstanceIds=made["Instances"][0]["InstanceIds"])
    with pytest.raises(ClientError) as problem:
        ec2.delete_security_group(GroupId=group)
    assert code(problem) == "DependencyViolation"
    while listed(ec2)[0]["State"]["Name"] != "terminated":
        pass
    ec2.delete_security_group(GroupId=group)
    ec2.delete_launch_template(LaunchTemplateName="mine")
    assert aws_api.left() == {}
