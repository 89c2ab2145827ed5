"""Machines of EC2 from the order to their end: what is created, with what, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import boto3
import pytest
import yaml
from attrs import evolve
from rig.rig import Rig

import skyward as sky
from skyward import AuthenticationFailed, QuotaExceeded, Transient, Unavailable
from skyward.spi import ComputeSpec, Instance, InstanceState, LaunchRequest, Market, PoolIdentity
from skyward_aws import _orders
from skyward_aws._session import AWSSession

type Opened = Callable[..., AbstractAsyncContextManager[AWSSession]]
type Identity = Callable[..., PoolIdentity]

ANYTHING = ComputeSpec(nodes=2, image=sky.Image())


async def order(session: AWSSession, *nodes: int, market: Market = "spot", spec: ComputeSpec = ANYTHING) -> Any:
    first, *others = [each for each in await session.offers(spec) if each.market == market]
    return LaunchRequest(offer=first, nodes=nodes or (0,), spec=spec, alternatives=tuple(others))


async def launched(session: AWSSession, *nodes: int, **how: Any) -> Sequence[Instance]:
    return await session.launch(await order(session, *nodes, **how))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def ec2(region: str = "us-east-1") -> Any:
    return boto3.Session(region_name=region).client("ec2")


def facts(machine: Instance) -> dict[str, Any]:
    found: dict[str, Any] = ec2().describe_instances(InstanceIds=[machine.id])["Reservations"][0]["Instances"][0]
    return found


def test_one_request_buys_all_nodes_and_nothing_but_machines_outlives_it(aws_api: Rig, opened: Opened) -> None:
    async def main() -> None:
        async with opened() as session:
            machines = await launched(session, 0, 3, 5)
            assert [machine.node for machine in machines] == [0, 3, 5]
            assert aws_api.calls["ec2:CreateFleet"] == 2  # one of them was a trial
            assert "launch-template" not in aws_api.left()
            await session.terminate([machine.id for machine in machines])
            found = await session.describe([machine.id for machine in machines])
            while any(each.state is not InstanceState.GONE for each in found.values()):
                await session.terminate(list(found))
                found = await session.describe(list(found))
        assert aws_api.left() == {}

    run(main())


def test_everything_bears_the_tags_of_the_pool_from_its_creation_on(
    aws_api: Rig, opened: Opened, identity: Identity
) -> None:
    async def main() -> None:
        who = identity()
        async with opened(who) as session:
            [machine] = await launched(session)
            wanted = {
                "skyward-pool": who.pool_id,
                "skyward-owner": "ada@lab",
                "skyward-client": "elsewhere-1-2",
                "skyward-deadline": f"{who.deadline:.3f}",
            }
            described = facts(machine)
            volumes = ec2().describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [machine.id]}])[
                "Volumes"
            ]
            things = [
                described,
                *volumes,
                *ec2().describe_security_groups(GroupNames=[f"skyward-{who.pool_id}"])["SecurityGroups"],
                *ec2().describe_key_pairs()["KeyPairs"],
            ]
            assert len(things) == 4
            for thing in things:
                tags = {tag["Key"]: tag["Value"] for tag in thing["Tags"]}
                assert wanted.items() <= tags.items(), thing
            await session.terminate([machine.id])

    run(main())


def test_a_machine_is_guarded_encrypted_and_ends_for_good_with_its_shutdown(
    aws_api: Rig, opened: Opened, identity: Identity
) -> None:
    async def main() -> None:
        who = identity(lease=123.0)
        async with opened(who, disk_gb=70) as session:
            [machine] = await launched(session)
            told = facts(machine)
            assert told["MetadataOptions"]["HttpTokens"] == "required"
            [volume] = ec2().describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [machine.id]}])[
                "Volumes"
            ]
            assert (volume["Encrypted"], volume["Size"], volume["VolumeType"]) == (True, 70, "gp3")
            assert told["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"]
            asked = {"InstanceId": machine.id, "Attribute": "instanceInitiatedShutdownBehavior"}
            assert ec2().describe_instance_attribute(**asked)["InstanceInitiatedShutdownBehavior"] == {
                "Value": "terminate"
            }
            [group] = ec2().describe_security_groups(GroupNames=[f"skyward-{who.pool_id}"])["SecurityGroups"]
            ssh, inner = sorted(group["IpPermissions"], key=lambda rule: rule["IpProtocol"], reverse=True)
            assert [each["CidrIp"] for each in ssh["IpRanges"]] == ["198.51.100.7/32"]
            assert (ssh["IpProtocol"], ssh["FromPort"], ssh["ToPort"]) == ("tcp", 22, 22)
            assert [each["GroupId"] for each in inner["UserIdGroupPairs"]] == [group["GroupId"]]
            assert not inner["IpRanges"]
            data = ec2().describe_instance_attribute(InstanceId=machine.id, Attribute="userData")["UserData"]["Value"]
            settings = yaml.safe_load(base64.b64decode(data))
            assert settings["ssh_keys"]["ed25519_public"].startswith("ssh-ed25519 ")
            [[*_, switch]] = settings["bootcmd"]
            assert re.search(r"switch\.sh 3[56]\d\d 123 ubuntu ", switch)
            await session.terminate([machine.id])

    run(main())


def test_where_one_type_and_one_zone_have_no_capacity_the_same_request_finds_another(
    aws_api: Rig, opened: Opened
) -> None:
    aws_api.market.refuse(kind="c7i.large")
    aws_api.market.refuse(zone="us-east-1a")

    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            assert machine.offer is not None
            assert machine.offer.instance_type != "c7i.large"
            assert machine.details["zone"] not in ("", "us-east-1a")
            zone_prices = machine.offer.details["zone_prices"]
            assert isinstance(zone_prices, dict)
            assert machine.offer.price == zone_prices[machine.details["zone"]]
            assert aws_api.calls["ec2:CreateFleet"] == 2
            await session.terminate([machine.id])

    run(main())


def test_no_zone_is_bought_in_that_is_dearer_than_the_pool_allows(aws_api: Rig, opened: Opened) -> None:
    aws_api.market.refuse(zone="us-east-1a")

    async def main() -> None:
        async with opened() as session:
            wish = await order(session, spec=ComputeSpec(nodes=1, image=sky.Image(), machine="c7i.large"))
            prices = wish.offer.details["zone_prices"]
            assert wish.offer.price == prices["us-east-1a"] == 0.026775
            assert max(prices.values()) < wish.offer.highest_price < wish.offer.on_demand_price
            with pytest.raises(Unavailable, match=r"us-east-1b.*of 0\.027666 is below 0\.027667 \(SpotMaxPriceTooLow"):
                await session.launch(evolve(wish, max_price=0.0276669))
            assert aws_api.existing() == []
            for limit in (0.027667, None):
                [machine] = await session.launch(evolve(wish, max_price=limit))
                assert machine.offer is not None
                assert (machine.details["zone"], machine.offer.price) == ("us-east-1b", 0.027667)
                await session.terminate([machine.id])

    run(main())


def test_without_capacity_every_type_is_named_with_its_zones_and_nothing_stays(aws_api: Rig, opened: Opened) -> None:
    aws_api.market.refuse()

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(Unavailable) as caught:
                await launched(session)
            for name in ("c7i.large", "r7i.large", "us-east-1b", "InsufficientInstanceCapacity"):
                assert name in str(caught.value)
        assert aws_api.left() == {}

    run(main())


@pytest.mark.parametrize(("market", "code"), [("spot", "L-34B43A08"), ("on-demand", "L-1216C47A")])
def test_a_quota_is_named_with_the_page_on_which_it_is_raised(
    aws_api: Rig, opened: Opened, market: Market, code: str
) -> None:
    aws_api.market.quotas[code] = 0.0

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(QuotaExceeded, match=f"servicequotas/home/services/ec2/quotas/{code}"):
                await launched(session, market=market)
        assert aws_api.left() == {}

    run(main())


def test_fewer_machines_than_were_asked_for_are_returned(aws_api: Rig, opened: Opened) -> None:
    aws_api.market.limit(2)

    async def main() -> None:
        async with opened() as session:
            machines = await launched(session, 0, 1, 2)
            assert len(machines) == 2
            await session.terminate([machine.id for machine in machines])

    run(main())


def test_an_order_whose_answer_is_lost_is_found_by_its_tag_and_not_repeated(
    aws_api: Rig, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_orders, "_LOOKS", (0.0,) * 5)
    aws_api.faults.lose("CreateFleet", after=1)
    aws_api.lag.untagged = 2

    async def main() -> None:
        async with opened() as session:
            machines = await launched(session, 0, 1)
            assert sorted(machine.id for machine in machines) == sorted(aws_api.existing())
            assert aws_api.calls["ec2:CreateFleet"] == 2
            await session.terminate([machine.id for machine in machines])

    run(main())


def test_an_order_that_failed_at_the_server_without_effect_may_be_given_again(
    aws_api: Rig, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_orders, "_LOOKS", (0.0,) * 2)
    aws_api.faults.fail("CreateFleet", "InternalError", 500, after=1)

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(Transient):
                await launched(session)
            assert not aws_api.existing()
            [machine] = await launched(session)
            await session.terminate([machine.id])

    run(main())


@pytest.mark.parametrize("action", ["ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress"])
def test_what_was_made_though_the_answer_was_lost_is_not_made_twice(aws_api: Rig, opened: Opened, action: str) -> None:
    aws_api.faults.lose(action, after=0 if action.startswith("Authorize") else 1)  # after the trial

    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            left = aws_api.left()
            assert (len(left["key-pair"]), len(left["security-group"])) == (1, 1)
            await session.terminate([machine.id])

    run(main())


def test_a_new_machine_that_aws_does_not_know_yet_is_not_gone(aws_api: Rig, opened: Opened) -> None:
    aws_api.lag.unseen = 3

    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            for _ in range(3):
                found = await session.describe([machine.id])
                assert found[machine.id].state is InstanceState.PENDING
            await session.terminate([machine.id])

    run(main())


@pytest.mark.parametrize(
    "missing", ["ec2:CreateFleet", "ec2:RunInstances", "ec2:ImportKeyPair", "ec2:CreateSecurityGroup"]
)
def test_a_missing_permission_is_named_before_anything_is_made(aws_api: Rig, opened: Opened, missing: str) -> None:
    allowed = {
        *("ec2:Describe*", "ec2:Delete*", "ec2:Authorize*", "pricing:*", "ssm:*", "ec2:CreateTags"),
        *("ec2:CreateFleet", "ec2:RunInstances", "ec2:ImportKeyPair", "ec2:CreateSecurityGroup"),
        "ec2:CreateLaunchTemplate",
    }
    aws_api.allow(*(allowed - {missing}))

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(AuthenticationFailed, match=f"does not allow {missing} in us-east-1"):
                await launched(session)
            assert aws_api.left() == {}

    run(main())


def test_a_security_group_of_the_users_own_is_used_and_kept(aws_api: Rig, opened: Opened) -> None:
    own = ec2().create_security_group(GroupName="own", Description="own")["GroupId"]

    async def main() -> None:
        async with opened(security_group=own) as session:
            [machine] = await launched(session)
            assert [group["GroupId"] for group in facts(machine)["NetworkInterfaces"][0]["Groups"]] == [own]
            await session.terminate([machine.id])
        assert aws_api.left() == {"security-group": ["own"]}

    run(main())


def test_machines_of_all_regions_are_found_and_ended_by_whoever_looks_without_a_pool(
    aws_api: Rig, opened: Opened, identity: Identity
) -> None:
    async def main() -> None:
        who = identity(client="", deadline=1.0e9)  # of a client of whom nothing is known, long past
        session = await opened(who, region="eu-west-1").__aenter__()  # it dies without a close
        [machine] = await launched(session)
        async with opened() as other:
            assert machine.id in [each.id for each in await other.list_owned(None)]
        async with opened() as broom:
            assert (await broom.describe([machine.id]))[machine.id].pool_id == who.pool_id
            await broom.terminate([machine.id])
            found = await broom.describe([machine.id])
            while found[machine.id].state is not InstanceState.GONE:
                await broom.terminate([machine.id])
                found = await broom.describe([machine.id])
        assert aws_api.left("eu-west-1") == {}

    run(main())


def test_what_a_dead_client_left_beside_machines_that_ended_themselves_is_removed_by_who_looks(
    aws_api: Rig, opened: Opened, identity: Identity
) -> None:
    async def main() -> None:
        who = identity(deadline=1.0e9)
        session = await opened(who).__aenter__()
        [machine] = await launched(session)
        ec2().terminate_instances(InstanceIds=[machine.id])
        while facts(machine)["State"]["Name"] != "terminated":
            pass
        assert set(aws_api.left()) == {"key-pair", "security-group"}
        async with opened() as broom:
            await broom.list_owned(None)
            left = await broom.list_left()
            assert {each.pool_id for each in left} == {who.pool_id}
            assert set(aws_api.left()) == {"key-pair", "security-group"}, "who only looks removes nothing"
            await broom.terminate([each.id for each in left])
            assert not await broom.describe([each.id for each in left])
        assert aws_api.left() == {}

    run(main())


def test_what_a_living_pool_has_is_left_alone_by_who_looks(aws_api: Rig, opened: Opened) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            async with opened() as broom:
                await broom.list_owned(None)
            assert set(aws_api.left()) == {"instance", "volume", "key-pair", "security-group"}
            await session.terminate([machine.id])

    run(main())
