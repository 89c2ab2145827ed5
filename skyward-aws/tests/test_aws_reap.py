"""``skyward reap`` finds by tags alone what dead clients have left in any region, and removes it; nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from rig.rig import Rig

import skyward as sky
from skyward import AuthenticationFailed
from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity
from skyward_aws._session import AWSSession

type Opened = Callable[..., AbstractAsyncContextManager[AWSSession]]
type Identity = Callable[..., PoolIdentity]

SPEC = ComputeSpec(nodes=1, image=sky.Image())
LONG_AGO = 1.0e9
KINDS = {"instance", "volume", "key-pair", "security-group", "launch-template"}


async def launched(session: AWSSession) -> str:
    first, *others = [each for each in await session.offers(SPEC) if each.market == "spot"]
    request = LaunchRequest(offer=first, nodes=(0,), spec=SPEC, alternatives=tuple(others))
    [machine] = await session.launch(request)
    return machine.id


def stray(rig: Rig, region: str, who: PoolIdentity) -> None:
    """A launch template and a volume of a pool, as they are left if everything goes wrong."""
    tags = {"skyward-pool": who.pool_id, "skyward-client": who.client, "skyward-deadline": f"{who.deadline}"}

    def tagged(kind: str) -> dict[str, str]:
        rows = {f"Tag.{at}.{part}": each for at, row in enumerate(tags.items(), 1) for part, each in named(row)}
        return {"TagSpecification.1.ResourceType": kind} | {f"TagSpecification.1.{key}": rows[key] for key in rows}

    def named(row: tuple[str, str]) -> list[tuple[str, str]]:
        return list(zip(("Key", "Value"), row, strict=True))

    volume = {"AvailabilityZone": f"{region}a", "Size": "1"}
    template = {"LaunchTemplateName": f"skyward-{who.pool_id}", "LaunchTemplateData.ImageId": "ami-1"}
    rig.world.ec2(region, "CreateVolume", volume | tagged("volume"))
    rig.world.ec2(region, "CreateLaunchTemplate", template | tagged("launch-template"))


@pytest.mark.slow
def test_everything_that_bears_the_tag_is_found_in_all_regions_and_removed_and_what_lives_stays(
    aws_api: Rig, opened: Opened, identity: Identity, reap: Callable[..., dict[str, Any]]
) -> None:
    async def abandoned(region: str, **of: Any) -> PoolIdentity:
        who = identity(**of)
        await launched(await opened(who, region=region).__aenter__())  # it is never closed
        return who

    async def before() -> tuple[PoolIdentity, PoolIdentity, PoolIdentity]:
        here = await abandoned("us-east-1", deadline=LONG_AGO)
        there = await abandoned("eu-west-1", deadline=LONG_AGO)
        return here, there, await abandoned("us-east-1", deadline=time.time() + 3600)

    here, there, living = asyncio.run(before())
    for region, who in (("us-east-1", here), ("eu-west-1", there)):
        stray(aws_api, region, who)
    left = {region: aws_api.left(region) for region in ("us-east-1", "eu-west-1")}
    assert {*left["us-east-1"]} == {*left["eu-west-1"]} == KINDS

    found = reap(aws_api, "--dry-run")
    assert (found["status"], found["problems"]) == (1, [])
    assert {each["pool"] for each in found["machines"]} == {here.pool_id, there.pool_id}
    assert left == {region: aws_api.left(region) for region in left}, "a dry run removes nothing"

    removed = reap(aws_api)
    assert (removed["status"], removed["problems"]) == (0, [])
    assert set(aws_api.left()) == {"instance", "volume", "key-pair", "security-group"}
    assert [living.pool_id in each for each in aws_api.left()["key-pair"]] == [True]
    assert len(aws_api.existing()) == 1
    assert set(aws_api.left("eu-west-1")) == {"instance"}, "which counts those of all regions"


@pytest.mark.slow
def test_what_machines_that_ended_themselves_had_beside_them_is_listed_line_by_line_and_removed(
    aws_api: Rig, opened: Opened, identity: Identity, reap: Callable[..., dict[str, Any]]
) -> None:
    async def before() -> PoolIdentity:
        who = identity(deadline=LONG_AGO)
        machine = await launched(await opened(who, region="eu-west-1").__aenter__())
        aws_api.world.ended(machine)
        return who

    who = asyncio.run(before())
    stray(aws_api, "eu-west-1", who)
    removed = reap(aws_api)
    assert (removed["status"], removed["problems"]) == (0, [])
    kinds = sorted(each["id"].rpartition("-")[0] for each in removed["removed"])
    assert kinds == ["eu-west-1/key", "eu-west-1/lt", "eu-west-1/sg", "eu-west-1/vol"]
    assert {(each["pool"], each["why"]) for each in removed["machines"]} == {(who.pool_id, "its deadline has passed")}
    assert aws_api.left("eu-west-1") == {}
    again = reap(aws_api)
    assert (again["status"], again["machines"]) == (0, [])


def test_without_the_permission_to_look_nobody_says_that_nothing_is_left(aws_api: Rig, opened: Opened) -> None:
    aws_api.faults.fail("DescribeKeyPairs", "UnauthorizedOperation", 403, times=2)

    async def main() -> None:
        async with opened(reap_regions=("us-east-1",)) as broom:
            for ask in (broom.list_left(), broom.describe(["us-east-1/key-0"])):
                with pytest.raises(AuthenticationFailed, match="ec2:DescribeKeyPairs"):
                    await ask
            assert await broom.list_left() == []

    asyncio.run(main())
