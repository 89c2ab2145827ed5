"""The policy that the documentation gives is enough, and nothing in it is there in vain."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import re
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import boto3
import pytest
from attrs import evolve
from botocore.exceptions import ClientError
from moto.iam.access_control import IAMPolicy, PermissionResult
from rig.policies import allowing, several
from rig.rig import Rig

import skyward as sky
from skyward import ProviderError
from skyward.spi import ComputeSpec, InstanceState, LaunchRequest, PoolIdentity
from skyward_aws import AWS
from skyward_aws._api import Api

DOCUMENT = Path(__file__).parents[2] / "docs/aws.md"
_SECTION = DOCUMENT.read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
POLICY, ROLE = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", _SECTION, re.DOTALL))

REFUSED = r"not authorized to perform: ([\w-]+:\w+)"

type Identity = Callable[..., PoolIdentity]


def without(statement: int, **less: str) -> dict[str, Any]:
    """The policy without one action or one resource of a statement."""
    policy: dict[str, Any] = copy.deepcopy(POLICY)
    for name, value in less.items():
        row = policy["Statement"][statement]
        row[name] = [each for each in several(row[name]) if each != value]
    return policy


def only(actions: set[str]) -> dict[str, Any]:
    """The policy with these of its actions."""
    policy: dict[str, Any] = copy.deepcopy(POLICY)
    for row in policy["Statement"]:
        row["Action"] = [each for each in several(row["Action"]) if each in actions]
    return policy


def stray(rig: Rig, pool: str) -> None:
    """A volume of a pool that no machine has."""
    tag = {"ResourceType": "volume", "Tag.1.Key": "skyward-pool", "Tag.1.Value": pool}
    asked = {"AvailabilityZone": "us-east-1a", "Size": "1"}
    rig.world.ec2(
        "us-east-1", "CreateVolume", asked | {f"TagSpecification.1.{name}": value for name, value in tag.items()}
    )


async def everything(rig: Rig, settings: AWS, identity: PoolIdentity, market: str) -> list[str]:
    """All that skyward does at AWS, each step whatever became of the one before; what went wrong."""
    told = [f"{each.detail}: {each.remedy}" for each in await settings.check() if each.level != "ok"]
    session = await settings.open(identity)

    async def step[T](what: Coroutine[Any, Any, T]) -> T | None:
        try:
            return await what
        except ProviderError as error:
            told.append(str(error))
            return None

    spec = ComputeSpec(nodes=1, image=sky.Image())
    offers = [each for each in await step(session.offers(spec)) or () if each.market == market]
    if offers:
        request = LaunchRequest(offer=offers[0], nodes=(0,), spec=spec, alternatives=tuple(offers[1:]))
        machines = [each.id for each in await step(session.launch(request)) or ()]
        if machines:
            await step(session.extend(machines, 4e9))
            stray(rig, identity.pool_id)
            await step(session.terminate(machines))
            found = await step(session.describe(machines)) or {}
            if any(each.state is not InstanceState.GONE for each in found.values()) and not told:
                await step(session.terminate(machines))
    await step(session.list_owned(None))
    await step(session.list_left())
    await session.close()
    everywhere = await evolve(settings, reap_regions=None).open(identity)
    await step(everywhere._machines._all_regions())  # looking into all of them takes the rig long
    return told


@pytest.fixture
def grumbles(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the package has logged since it was asked last."""
    caplog.set_level(logging.DEBUG, "skyward.aws")

    def told() -> str:
        text = caplog.text
        caplog.clear()
        return text

    return told


@pytest.mark.slow
def test_the_policy_allows_all_of_it_and_each_part_of_it_is_needed(
    aws_api: Rig,
    settings: AWS,
    identity: Identity,
    cache: Path,
    grumbles: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        api = await Api.open(settings.region, None)

        async def same(*_: object) -> Api:
            return api

        monkeypatch.setattr(Api, "open", same)  # boto3 takes a second to begin

        async def tried(policy: Any, market: str = "spot") -> str:
            shutil.rmtree(cache, ignore_errors=True)  # what is kept is not asked for
            aws_api.enforce(policy)
            told = await everything(aws_api, settings, identity(), market)
            return "\n".join([*told, grumbles()])

        for market in ("spot", "on-demand"):
            assert not re.findall(REFUSED, await tried(POLICY, market))
        decisions = aws_api.decisions
        assert all(each.by for each in decisions)
        assert aws_api.left() == {}
        # Moto's own reading of policies, which leaves conditions aside, is the same.
        read = IAMPolicy(json.dumps(POLICY))
        permitted = PermissionResult.PERMITTED
        assert all(read.is_action_permitted(e.check.action, e.check.resource) is permitted for e in decisions)
        # By what has decided: no part can go without something being refused.
        for number, statement in enumerate(POLICY["Statement"]):
            for name in ("Action", "Resource"):
                for value in several(statement[name]):
                    shorter = without(number, **{name: value})
                    refused = [
                        each.check for each in decisions if each.by == (number,) and not allowing(shorter, each.check)
                    ]
                    assert refused, f"{value} of {statement['Sid']} is not needed"
        # By what users see: who begins with nothing, and adds what is said to be missing, comes to just this policy.
        wanted = {each for row in POLICY["Statement"] for each in several(row["Action"])}
        found: set[str] = set()
        while missing := {*re.findall(REFUSED, await tried(only(found)))} - found:
            found |= missing
        assert found == wanted
        await api.close()

    asyncio.run(main())


@pytest.mark.usefixtures("aws_api")
def test_iam_takes_the_policy() -> None:
    iam: Any = boto3.client("iam")
    text = json.dumps(POLICY, separators=(",", ":"))
    # Characters of a managed policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
    assert len(text) <= 6144
    iam.create_policy(PolicyName="skyward", PolicyDocument=text)
    whole = {**POLICY, "Statement": [*POLICY["Statement"], ROLE]}
    iam.create_policy(PolicyName="skyward-with-a-role", PolicyDocument=json.dumps(whole))


def test_the_policy_does_not_reach_what_no_pool_has(aws_api: Rig) -> None:
    ec2: Any = boto3.client("ec2")
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
    launch: dict[str, Any] = {"ImageId": image, "InstanceType": "c7i.large", "MinCount": 1, "MaxCount": 1}
    tags = [{"Key": "skyward-pool", "Value": "p"}]
    tagged = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")]
    [strange] = ec2.run_instances(**launch)["Instances"]
    [own] = ec2.run_instances(**launch, TagSpecifications=tagged)["Instances"]
    group = ec2.create_security_group(GroupName="strange", Description="strange")["GroupId"]
    ec2.create_key_pair(KeyName="strange")
    aws_api.enforce(POLICY)
    deadline = [{"Key": "skyward-deadline", "Value": "1"}]
    calls: tuple[Callable[[], Any], ...] = (
        lambda: ec2.terminate_instances(InstanceIds=[own["InstanceId"], strange["InstanceId"]]),
        lambda: ec2.delete_security_group(GroupId=group),
        lambda: ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="-1", CidrIp="0.0.0.0/0"),
        lambda: ec2.delete_key_pair(KeyName="strange"),
        lambda: ec2.create_tags(Resources=[strange["InstanceId"]], Tags=deadline),
        lambda: ec2.create_tags(Resources=[strange["InstanceId"]], Tags=tags),
        lambda: ec2.create_tags(Resources=[own["InstanceId"]], Tags=tags),
        lambda: ec2.create_security_group(GroupName="without", Description="without a tag"),
        lambda: ec2.run_instances(**launch),
        lambda: ec2.run_instances(**launch, TagSpecifications=tagged[:1]),
        lambda: ec2.run_instances(**launch, TagSpecifications=tagged, IamInstanceProfile={"Name": "any"}),
    )
    for call in calls:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            call()
    ec2.create_tags(Resources=[own["InstanceId"]], Tags=deadline)
    ec2.terminate_instances(InstanceIds=[own["InstanceId"]])


def test_machines_with_a_role_need_the_statement_for_it(aws_api: Rig, settings: AWS, identity: Identity) -> None:
    role = json.loads(json.dumps(ROLE).replace("ROLE", "training"))
    settings = evolve(settings, instance_profile="training")
    iam: Any = boto3.client("iam")
    iam.create_instance_profile(InstanceProfileName="training")
    aws_api.enforce(POLICY)
    assert "iam:PassRole" in " ".join(asyncio.run(everything(aws_api, settings, identity(), "spot")))
    aws_api.enforce({**POLICY, "Statement": [*POLICY["Statement"], role]})
    assert not asyncio.run(everything(aws_api, settings, identity(), "spot"))


def test_what_is_gone_although_the_answer_was_lost_is_no_matter_of_permissions(
    aws_api: Rig, settings: AWS, identity: Identity
) -> None:
    aws_api.enforce(POLICY)
    for action in ("DeleteKeyPair", "DeleteSecurityGroup"):
        aws_api.faults.lose(action)
    assert not asyncio.run(everything(aws_api, settings, identity(), "on-demand"))
    assert aws_api.left() == {}


@pytest.mark.slow
def test_a_pool_works_and_goes_under_the_policy(aws: Rig, settings: AWS) -> None:
    @sky.compute
    def double(x: int) -> int:
        return 2 * x

    aws.enforce(POLICY)
    with sky.ComputePool(settings, nodes=2, allocation=0.5, display="quiet", timeout=1800) as pool:
        assert list(double(21) @ pool) == [42, 42]
        pool.extend(7200)
    assert aws.left() == {}
    assert all(each.by for each in aws.decisions)
