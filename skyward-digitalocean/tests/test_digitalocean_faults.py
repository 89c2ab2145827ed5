"""What DigitalOcean's refusals mean, and what happens where nobody knows whether something was made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from fakes.digitalocean import DigitalOceanServer

import skyward as sky
from skyward import AuthenticationFailed, QuotaExceeded, Transient, Unavailable
from skyward.spi import Answer, ComputeSpec, Instance, InstanceState, LaunchRequest
from skyward_digitalocean._api import explained
from skyward_digitalocean._session import DigitalOceanSession

type Opened = Callable[..., AbstractAsyncContextManager[DigitalOceanSession]]

SPEC = ComputeSpec(nodes=1, image=sky.Image())
GPU = ComputeSpec(nodes=1, image=sky.Image(), accelerator=sky.Accelerator.parse("H100"))
CREATE = "POST /v2/droplets"
KEY = "POST /v2/account/keys"


async def launched(session: DigitalOceanSession, spec: ComputeSpec = SPEC) -> Instance:
    offer = (await session.offers(spec))[0]
    [machine] = await session.launch(LaunchRequest(offer=offer, nodes=(0,), spec=spec))
    return machine


def words(text: str) -> dict[str, str]:
    return {"id": "unprocessable_entity", "message": text}


@pytest.mark.parametrize("spec", [SPEC, GPU], ids=["cpu", "gpu"])
def test_a_droplet_whose_order_got_no_answer_is_found_by_its_name_though_lists_lag_behind(
    digitalocean_api: DigitalOceanServer, opened: Opened, spec: ComputeSpec
) -> None:
    digitalocean_api.list_lag = 4  # there are two lists to each look
    digitalocean_api.faults.lose(CREATE)

    async def main() -> None:
        async with opened() as session:
            machine = await launched(session, spec)
            assert {machine.id} == {str(number) for number in digitalocean_api.ours}
            assert len(digitalocean_api.asked(CREATE)) == 1
            await session.terminate([machine.id])

    asyncio.run(main())
    assert digitalocean_api.belongings() == set()


def test_a_key_that_is_not_known_yet_is_no_reason_to_give_up(
    digitalocean_api: DigitalOceanServer, opened: Opened
) -> None:
    digitalocean_api.faults.fail(CREATE, 422, body=words("512 are invalid key identifiers for Droplet creation."))

    async def main() -> None:
        async with opened() as session:
            machine = await launched(session)
            assert [each.status for each in digitalocean_api.asked(CREATE)] == [422, 202]
            await session.terminate([machine.id])

    asyncio.run(main())


@pytest.mark.parametrize("how", ["lost", "error", "in use"])
def test_a_key_of_which_nobody_knows_whether_it_was_made_is_made_once(
    digitalocean_api: DigitalOceanServer, opened: Opened, how: str
) -> None:
    if how == "lost":
        digitalocean_api.faults.lose(KEY)
    elif how == "error":
        digitalocean_api.faults.fail_after(KEY, 500)
    else:
        digitalocean_api.faults.fail_after(KEY, 422, body=words("SSH Key is already in use on your account"))

    async def main() -> None:
        async with opened() as session:
            machine = await launched(session)
            assert len(digitalocean_api.asked(KEY)) == 1
            await session.terminate([machine.id])

    asyncio.run(main())
    assert digitalocean_api.belongings() == set()


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (422, words("Size is not available in this region."), Unavailable, "not available in this region"),
        (422, words("You specified an invalid image for Droplet creation."), Unavailable, "invalid image"),
        (422, words("creating this/these droplet(s) will exceed your droplet limit"), QuotaExceeded, "limit_increase"),
        (402, words("Payment required"), QuotaExceeded, "add funds"),
        (403, {"id": "Forbidden", "message": "missing droplet:create"}, AuthenticationFailed, "droplet:create"),
        (401, None, AuthenticationFailed, "DIGITALOCEAN_TOKEN"),
    ],
)
def test_a_refusal_is_told_as_what_it_means(
    digitalocean_api: DigitalOceanServer,
    opened: Opened,
    status: int,
    body: dict[str, str] | None,
    kind: type[Exception],
    says: str,
) -> None:
    digitalocean_api.faults.fail(CREATE, status, body=body)

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(kind, match=says) as caught:
                await launched(session)
            assert digitalocean_api.token not in str(caught.value)
            assert len(digitalocean_api.asked(CREATE)) == 1

    asyncio.run(main())
    assert not digitalocean_api.ours


def test_a_question_that_is_refused_is_no_bug_of_this_package() -> None:
    answer = Answer(status=422, body=words("per_page is too large"), method="GET", path="/v2/tags")
    assert isinstance(explained(answer), Unavailable)
    spent = {"ratelimit-remaining": "0", "ratelimit-reset": "soon"}
    for status, headers in ((429, {"retry-after": "3"}), (429, spent), (429, {}), (500, {}), (200, {})):
        assert explained(Answer(status=status, headers=headers, method="GET", path="/v2/tags")) is None


def test_a_droplet_that_is_off_is_gone_for_its_pool_which_destroys_it_since_it_costs_on(
    digitalocean_api: DigitalOceanServer, opened: Opened
) -> None:
    async def main() -> None:
        async with opened() as session, opened() as stranger:
            machine = await launched(session)
            digitalocean_api.power_off(int(machine.id))
            [listed] = await stranger.list_owned()
            assert (listed.id, listed.state) == (machine.id, InstanceState.PENDING)
            assert (await stranger.describe([machine.id]))[machine.id].state is InstanceState.GONE
            assert digitalocean_api.ours, "it is somebody else's"
            assert (await session.describe([machine.id]))[machine.id].state is InstanceState.GONE
            assert not digitalocean_api.ours
            assert await session.list_owned() == []

    asyncio.run(main())
    assert digitalocean_api.belongings() == set()


def test_a_droplet_that_is_off_and_cannot_be_destroyed_is_found_again(
    digitalocean_api: DigitalOceanServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="skyward")

    async def main() -> None:
        async with opened() as session:
            machine = await launched(session)
            digitalocean_api.power_off(int(machine.id))
            digitalocean_api.faults.fail("DELETE /v2/droplets/*", 403)
            assert (await session.describe([machine.id]))[machine.id].state is InstanceState.GONE
            assert f"{machine.id} of DigitalOcean does nothing any more, and costs on" in caplog.text
            [found] = await session.list_owned()
            await session.terminate([found.id])

    asyncio.run(main())
    assert not digitalocean_api.ours


def test_the_pools_belongings_stay_where_they_cannot_be_removed_and_are_found_and_removed_later(
    digitalocean_api: DigitalOceanServer, opened: Opened
) -> None:
    digitalocean_api.faults.fail("DELETE /v2/tags/*", 403, times=2)

    async def main() -> None:
        async with opened() as session:
            machine = await launched(session)
            with pytest.raises(AuthenticationFailed):
                await session.terminate([machine.id])
        async with opened() as stranger:
            left = await stranger.list_left()
            assert sorted(each.id.partition("/")[0] for each in left) == ["ssh-key", "tag"]
            assert {each.pool_id for each in left} == {machine.pool_id}
            assert set(await stranger.describe([each.id for each in left])) == {each.id for each in left}
            await stranger.terminate([each.id for each in left])
            assert await stranger.list_left() == []
            assert await stranger.describe([each.id for each in left] + ["tag/Production", "volume/1"]) == {}

    asyncio.run(main())
    assert digitalocean_api.belongings() == set()


def test_pages_that_do_not_end_are_given_up(digitalocean_api: DigitalOceanServer, opened: Opened) -> None:
    page = {
        "tags": [{"name": "a", "resources": {"count": 0}}],
        "links": {"pages": {"next": "https://api.digitalocean.com/v2/tags?page=1"}},
        "meta": {"total": 1},
    }
    digitalocean_api.faults.fail("GET /v2/tags", 200, body=page, times=101)

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(Transient, match="do not end"):
                await session.list_left()

    asyncio.run(main())
