"""What DigitalOcean is asked for: droplets with one label each, the pool's key, user data; and that all of it goes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import yaml
from fakes.digitalocean import DigitalOceanServer
from fakes.digitalocean.catalogue import VPC

import skyward as sky
from skyward import ConfigurationError, Unavailable
from skyward.spi import ComputeSpec, Instance, InstanceState, KeyPair, LaunchRequest, MachineLabel, PoolIdentity
from skyward_digitalocean._session import DigitalOceanSession
from skyward_digitalocean._userdata import user_data

type Opened = Callable[..., AbstractAsyncContextManager[DigitalOceanSession]]
type Identity = Callable[..., PoolIdentity]

SPEC = ComputeSpec(nodes=2, image=sky.Image())
GPU = ComputeSpec(nodes=2, image=sky.Image(), accelerator=sky.Accelerator.parse("H100"))


async def launched(session: DigitalOceanSession, *nodes: int, spec: ComputeSpec = SPEC) -> list[Instance]:
    offer = (await session.offers(spec))[0]
    return list(await session.launch(LaunchRequest(offer=offer, nodes=nodes or (0,), spec=spec)))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def orders(server: DigitalOceanServer) -> list[dict[str, Any]]:
    return [each.body for each in server.asked("POST /v2/droplets")]


def test_an_order_says_all_that_a_droplet_needs_and_nothing_that_is_secret(
    digitalocean_api: DigitalOceanServer, opened: Opened, identity: Identity
) -> None:
    who = identity(deadline=time.time() + 1800, lease=120.0)

    async def main() -> None:
        async with opened(who) as session:
            [machine] = await launched(session, 3)
            [order] = orders(digitalocean_api)
            label = MachineLabel.read(*order["tags"])
            assert label is not None
            assert (label.pool_id, label.node, label.owner, label.client) == (who.pool_id, 3, who.owner, who.client)
            assert order["name"] == label.name
            assert (order["region"], order["size"], order["image"]) == ("nyc1", "s-2vcpu-4gb", "ubuntu-24-04-x64")
            assert (order["with_droplet_agent"], "vpc_uuid" in order) == (False, False)

            asked = yaml.safe_load(order["user_data"])
            assert (asked["disable_root"], asked["ssh_pwauth"], asked["ssh_deletekeys"]) == (False, False, True)
            assert session.keys.hosts[machine.id] == asked["ssh_keys"]["ed25519_public"]
            [[shell, option, switch]] = asked["bootcmd"]
            assert (shell, option) == ("sh", "-c")
            limits = re.search(r"switch\.sh (\d+) (\d+) root '(.*?)'", switch)
            assert limits is not None
            assert 1700 < int(limits[1]) <= 1800
            assert limits[2] == "120"
            assert limits[3].startswith("shutdown -h now")
            key = await session.key()
            known = [digitalocean_api.keys[number]["public_key"] for number in order["ssh_keys"]]
            assert known == [key.public], "without a key a password is mailed to the owner"
            secret = key.private.splitlines()[2:-1]  # what comes before is the same for all keys
            assert secret
            assert not [line for line in secret if line in str(order)]
            assert who.token.hex() not in str(order)
            await session.terminate([machine.id])

    run(main())


def test_settings_that_are_given_are_ordered(digitalocean_api: DigitalOceanServer, opened: Opened) -> None:
    async def main() -> None:
        async with opened(image=7_555_620, vpc=VPC, region="fra1") as session:
            machines = await launched(session)
            [order] = orders(digitalocean_api)
            assert (order["image"], order["vpc_uuid"], order["region"]) == (7_555_620, VPC, "fra1")
            await session.terminate([each.id for each in machines])

    run(main())


def test_gpu_droplets_which_plain_lists_hide_are_found_and_removed_by_anybody(
    digitalocean_api: DigitalOceanServer, opened: Opened, identity: Identity
) -> None:
    who = identity()

    async def main() -> None:
        async with opened(who) as session, opened() as stranger:
            ids = {each.id for each in await launched(session, 0, 1, spec=GPU)}
            assert {order["image"] for order in orders(digitalocean_api)} == {"gpu-h100x1-base"}
            for pool_id in (who.pool_id, None):
                assert {each.id for each in await stranger.list_owned(pool_id)} == ids
            assert set(await stranger.describe(sorted(ids))) == ids
            await stranger.terminate(sorted(ids))
            assert not digitalocean_api.ours

    run(main())
    assert digitalocean_api.belongings() == set()


def test_lists_are_read_to_their_last_page(digitalocean_api: DigitalOceanServer, opened: Opened) -> None:
    digitalocean_api.page_limit = 1

    async def main() -> None:
        async with opened() as session, opened() as stranger:
            assert len(await session.offers(SPEC)) > 3
            machines = await launched(session, 0, 1, 2)
            assert len(await stranger.list_owned(machines[0].pool_id)) == 3
            await stranger.terminate([each.id for each in machines])

    run(main())
    assert digitalocean_api.belongings() == set()


def test_a_pool_has_one_key_which_goes_with_its_last_droplet_and_without_a_list_of_keys(
    digitalocean_api: DigitalOceanServer, opened: Opened
) -> None:
    async def main() -> None:
        async with opened() as session:
            first, second = await launched(session, 0, 1)
            [third] = await launched(session, 2)
            assert len(digitalocean_api.asked("POST /v2/account/keys")) == 1
            await session.terminate([first.id, third.id])
            assert any(name.startswith("key ") for name in digitalocean_api.belongings())
            await session.terminate([second.id])
            assert digitalocean_api.belongings() == set()
            again = await launched(session, 3)
            await session.terminate([again[0].id])

    run(main())
    assert digitalocean_api.belongings() == set()
    assert digitalocean_api.asked("GET /v2/account/keys") == [], "it may be asked for ten times in a minute"


def test_a_pool_that_could_buy_nothing_leaves_no_key(digitalocean_api: DigitalOceanServer, opened: Opened) -> None:
    digitalocean_api.droplet_limit = 0

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(sky.QuotaExceeded):
                await launched(session)

    run(main())
    assert len(digitalocean_api.asked("POST /v2/account/keys")) == 1
    assert digitalocean_api.belongings() == set()


def test_addresses_are_told_once_a_droplet_is_active(digitalocean_api: DigitalOceanServer, opened: Opened) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            assert (machine.state, machine.ip) == (InstanceState.PENDING, None)
            early = (await session.describe([machine.id]))[machine.id]
            assert (early.state, early.ip) == (InstanceState.PENDING, None)
            droplet = digitalocean_api.ours[int(machine.id)]
            droplet.public, droplet.private = "203.0.113.7", "10.108.0.2"
            later = (await session.describe([machine.id]))[machine.id]
            assert (later.state, later.ip, later.private_ip) == (InstanceState.RUNNING, "203.0.113.7", "10.108.0.2")
            await session.terminate([machine.id])

    run(main())


def test_a_droplet_that_has_no_tags_yet_is_its_pools_by_its_name_and_nobody_elses(
    digitalocean_api: DigitalOceanServer, opened: Opened, identity: Identity
) -> None:
    who = identity()

    async def main() -> None:
        async with opened(who) as session, opened(who) as twin, opened() as stranger:
            [machine] = await launched(session)
            droplet = digitalocean_api.ours[int(machine.id)]
            tags, droplet.tags = droplet.tags, []
            [found] = await twin.list_owned(who.pool_id)
            assert (found.id, found.node, found.client) == (machine.id, 0, who.client)
            assert await stranger.list_owned() == []
            await stranger.terminate([machine.id])
            assert digitalocean_api.ours, "what bears no label is left alone"
            droplet.tags = tags
            await session.terminate([machine.id])

    run(main())


def test_a_moved_deadline_stands_in_the_one_tag_that_a_droplet_bears(
    digitalocean_api: DigitalOceanServer, opened: Opened, identity: Identity
) -> None:
    now = time.time()

    async def main() -> None:
        async with opened(identity(deadline=now + 600)) as session, opened() as stranger:
            [machine] = await launched(session)
            droplet = digitalocean_api.ours[int(machine.id)]
            for deadline in (now + 7200, now + 900, now + 900):
                await session.extend([machine.id], deadline)
                [label] = [MachineLabel.read(tag) for tag in droplet.tags]
                assert label is not None
                assert label.deadline == pytest.approx(deadline, abs=0.001)
                assert len(digitalocean_api.belongings()) == 2, "the key, and the one tag"
            asked = len(digitalocean_api.asked("POST /v2/tags"))
            assert asked == 2, "what is so already is not asked for"

            digitalocean_api.faults.fail("DELETE /v2/tags/*", 404)  # as if the client had died in between
            await session.extend([machine.id], now + 300)
            assert len(droplet.tags) == 2
            found = (await stranger.describe([machine.id]))[machine.id]
            assert found.deadline == pytest.approx(now + 900, abs=0.001), "the later one counts"
            await session.terminate([machine.id])

    run(main())
    assert digitalocean_api.belongings() == set()


def test_a_region_that_sells_nothing_is_said_with_those_that_do(
    digitalocean_api: DigitalOceanServer, opened: Opened
) -> None:
    async def main() -> None:
        async with opened(region="xyz9") as session:
            with pytest.raises(Unavailable, match=r"nothing in 'xyz9': choose a region of ams3, atl1, fra1"):
                await session.offers(SPEC)

    run(main())


def test_user_data_that_digitalocean_would_refuse_is_refused_before() -> None:
    text = user_data("true", KeyPair("private\nkey", "ssh-ed25519 AAAA"))
    assert yaml.safe_load(text)["ssh_keys"]["ed25519_private"] == "private\nkey"
    with pytest.raises(ConfigurationError, match="65536"):
        user_data("x" * 70_000, KeyPair("private", "public"))
