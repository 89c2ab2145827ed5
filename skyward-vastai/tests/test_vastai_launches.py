"""Orders: what they say, what becomes of those that go wrong, and of instances that end by themselves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from fakes.sessions import Hurry
from fakes.vastai import VastAIServer

from skyward import Accelerator, AuthenticationFailed, QuotaExceeded, Transient, Unavailable
from skyward.spi import ComputeSpec, InstanceState, LaunchRequest, MachineLabel, Market, PoolIdentity
from skyward_vastai._instances import machine
from skyward_vastai._limits import PACES
from skyward_vastai._session import VastAISession

type Opened = Callable[..., Any]
type Spec = Callable[..., ComputeSpec]
type Identity = Callable[..., PoolIdentity]

CREATE = "PUT /api/v0/asks/*"


async def request(session: VastAISession, spec: Spec, market: Market = "on-demand", **more: Any) -> LaunchRequest:
    wanted = spec(accelerator=Accelerator("RTX-4090"))
    first = next(offer for offer in await session.offers(wanted) if offer.market == market)
    return LaunchRequest(offer=first, nodes=(0,), spec=wanted, **more)


async def launched(session: VastAISession, spec: Spec, market: Market = "on-demand") -> str:
    [made] = await session.launch(await request(session, spec, market))
    return made.id


def test_an_order_is_for_an_instance_that_runs_or_none_with_a_label_that_tells_all(
    vastai_api: VastAIServer, opened: Opened, spec: Spec, identity: Identity
) -> None:
    who = identity()

    async def main() -> None:
        async with opened(who, disk_gb=64, image="ubuntu:24.04") as session:
            await launched(session, spec)

    asyncio.run(main())
    [order] = vastai_api.asked(CREATE)
    body = order.body
    assert (body["image"], body["disk"], body["runtype"]) == ("ubuntu:24.04", 64, "ssh_direct")
    assert body["cancel_unavail"] is True
    assert "price" not in body
    assert len(body["label"]) <= 256
    label = MachineLabel.read(body["label"])
    assert label is not None
    assert (label.pool_id, label.owner, label.client, label.node) == (who.pool_id, who.owner, who.client, 0)
    [instance] = vastai_api.ours
    assert [key.split()[0] for key in instance.keys] == ["ssh-ed25519"]
    assert instance.keys[0] in body["onstart"]
    assert not vastai_api.asked("* /api/v0/ssh*"), "the account gets no key"


def test_what_is_bid_is_what_was_offered_and_no_more_than_the_pool_allows(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            order = await request(session, spec, "spot")
            [made] = await session.launch(order)
            assert made.offer.price == order.offer.price
            order = await request(session, spec, "spot")
            await session.launch(evolve(order, max_price=(order.offer.price or 0.0) - 0.01))

    asyncio.run(main())
    first, second = vastai_api.asked(CREATE)
    assert first.body["price"] == pytest.approx(0.22)
    assert second.body["price"] == pytest.approx(0.205 * 1.1 - 0.01, abs=1e-4)
    assert [each.price for each in vastai_api.ours] == [first.body["price"], second.body["price"]]


def test_a_bid_that_does_not_win_any_more_is_no_capacity(vastai_api: VastAIServer, opened: Opened, spec: Spec) -> None:
    async def main() -> None:
        async with opened() as session:
            order = await request(session, spec, "spot")
            for ask in vastai_api.market.asks:
                ask.min_bid *= 2
            with pytest.raises(Unavailable, match="the bid is too low by now"):
                await session.launch(order)

    asyncio.run(main())
    assert vastai_api.ours == []


@pytest.mark.parametrize("gone", ["taken", "removed"])
def test_what_somebody_else_has_rented_is_no_capacity_and_leaves_no_stopped_instance(
    gone: str, vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            order = await request(session, spec)
            ask = vastai_api.market.find(int(str(order.offer.details["ask"])))
            assert ask is not None
            if gone == "taken":
                ask.sold_out = True
            else:
                vastai_api.market.asks.remove(ask)
            with pytest.raises(Unavailable, match="somebody else has rented it"):
                await session.launch(order)

    asyncio.run(main())
    assert vastai_api.ours == []


def test_an_account_without_credit_is_told_where_to_add_some(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    vastai_api.credit = 0.0

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(QuotaExceeded) as caught:
                await session.launch(await request(session, spec))
            assert (caught.value.quota, caught.value.url) == ("credit", "https://cloud.vast.ai/billing/")

    asyncio.run(main())


@pytest.mark.parametrize("lag", [0, 2])
def test_an_order_without_an_answer_is_found_by_its_label_and_not_repeated(
    lag: int, vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    vastai_api.lag = lag

    async def main() -> None:
        async with opened() as session:
            vastai_api.faults.lose(CREATE)
            name = await launched(session, spec)
            assert [str(each.id) for each in vastai_api.ours] == [name]

    asyncio.run(main())
    assert len(vastai_api.asked(CREATE)) == 1
    [instance] = vastai_api.ours
    filters = [json.loads(each.query["select_filters"]) for each in vastai_api.asked("GET /api/v1/instances")]
    assert filters == [{"label": {"eq": instance.label}}] * (lag + 1)


def test_a_success_that_says_that_it_is_none_is_an_error(vastai_api: VastAIServer, opened: Opened, spec: Spec) -> None:
    vastai_api.faults.fail(CREATE, 200, body={"success": False, "error": "some_error", "msg": "Not today."})

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(Exception, match=r"Not today\."):
                await session.launch(await request(session, spec))

    asyncio.run(main())
    assert len(vastai_api.asked(CREATE)) == 1


def test_an_instance_that_cannot_be_given_the_key_is_destroyed(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    vastai_api.faults.fail("POST /api/v0/instances/*/ssh", 503, times=100)

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(Transient):
                await session.launch(await request(session, spec))

    asyncio.run(main())
    assert len(vastai_api.asked(CREATE)) == 1
    assert vastai_api.ours == []


def test_an_order_that_came_too_early_waits_for_the_penalty_and_not_for_less(
    vastai_api: VastAIServer, opened: Opened, spec: Spec, hurry: Hurry
) -> None:
    said = "API requests too frequent: endpoint threshold=4.5"
    vastai_api.faults.fail(CREATE, 429, body=said)

    async def main() -> None:
        async with opened() as session:
            order = await request(session, spec)
            before = len(hurry.paused)
            await session.launch(order)
            assert sum(hurry.paused[before:]) >= 12.0

    asyncio.run(main())
    assert [each.status for each in vastai_api.asked(CREATE)] == [429, 200]
    assert len(vastai_api.ours) == 1


def test_the_days_last_search_is_not_repeated(vastai_api: VastAIServer, opened: Opened, spec: Spec) -> None:
    quota = {"error": "search_quota_exceeded", "msg": "Search quota exceeded"}
    vastai_api.faults.fail("POST /api/v0/bundles", 429, body=quota)

    async def main() -> None:
        async with opened() as session:
            with pytest.raises(QuotaExceeded, match="no more searches today"):
                await session.offers(spec())

    asyncio.run(main())
    assert len(vastai_api.asked("POST /api/v0/bundles")) == 1


def test_everything_that_a_pool_asks_has_a_limit_that_is_kept(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            name = await launched(session, spec)
            await session.extend([name], 2e9)
            await session.describe([name])
            await session.list_owned()
            await session.terminate([name])

    asyncio.run(main())
    unlimited = {
        f"{each.method} {each.path}"
        for each in vastai_api.requests
        if not any(pace.holds_for(each.method, f"{each.path}/") for pace in PACES)
    }
    assert unlimited == {"GET /api/v0/users/current"}, "which is asked once"


# ---- what becomes of instances


def test_an_instance_runs_when_its_own_port_can_be_reached_and_not_by_the_vendors_proxy(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    vastai_api.looks = 3

    async def main() -> list[Any]:
        async with opened() as session:
            name = await launched(session, spec)
            seen = [(await session.describe([name]))[name] for _ in range(6)]
            await session.terminate([name])
            return seen

    seen = asyncio.run(main())
    states = [each.state for each in seen]
    assert states == [InstanceState.PENDING] * 3 + [InstanceState.RUNNING] * 3
    last = seen[-1]
    assert last.ip is not None
    assert last.ip.startswith("127.78.")
    assert last.ip == last.ip.strip(), "white space comes with it"
    assert last.details["port"] > 20_000
    assert {each.ip for each in seen[:3]} == {None}


def test_an_instance_that_has_its_port_already_and_does_not_run_yet_is_on_its_way(identity: Identity) -> None:
    row: dict[str, Any] = {
        "id": 7,
        "label": MachineLabel.of(identity(), 0).text(256),
        "actual_status": "loading",
        "public_ipaddr": "203.0.113.7",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "20022"}]},
    }

    def state(**changes: Any) -> InstanceState | None:
        found = machine({**row, **changes})
        return None if found is None else found.state

    assert state() is InstanceState.PENDING
    assert state(actual_status="running") is InstanceState.RUNNING
    wrong: tuple[Any, ...] = (
        None,
        {},
        {"22/tcp": []},
        {"22/tcp": [{"HostPort": ""}]},
        {"8080/tcp": [{"HostPort": "1"}]},
    )
    for ports in wrong:
        assert state(actual_status="running", ports=ports) is InstanceState.PENDING
    assert state(label="skyward") is None
    assert state(label=None) is None


@pytest.mark.parametrize("status", ["stopped", "frozen", "exited", "unknown", "offline"])
def test_what_is_outbid_or_dead_is_gone_and_destroyed_at_once(
    status: str, vastai_api: VastAIServer, opened: Opened, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with opened() as session:
            dead, alive = await launched(session, spec, "spot"), await launched(session, spec, "spot")
            vastai_api.die(int(dead), status)
            found = await session.describe([dead, alive])
            assert found[dead].state is InstanceState.GONE
            assert found[alive].state is not InstanceState.GONE
            assert [str(each.id) for each in vastai_api.ours] == [alive]
            assert dead not in await session.describe([dead])
            await session.terminate([dead])
            await session.terminate([alive])

    with caplog.at_level(logging.WARNING, "skyward.vastai"):
        asyncio.run(main())
    assert len(vastai_api.asked("DELETE *")) == 2
    assert ("was outbid" in caplog.text) == (status == "stopped")


def test_a_dead_instance_that_cannot_be_destroyed_is_gone_all_the_same_and_destroyed_later(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            name = await launched(session, spec)
            vastai_api.die(int(name))
            vastai_api.faults.fail("DELETE *", 503, times=100)
            assert (await session.describe([name]))[name].state is InstanceState.GONE
            vastai_api.faults.clear()
            assert len(vastai_api.ours) == 1
            await session.terminate([name])

    asyncio.run(main())
    assert vastai_api.ours == []


def test_the_dead_of_another_pool_are_left_to_it_and_are_found_until_they_are_destroyed(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session, opened() as other:
            name = await launched(session, spec)
            vastai_api.die(int(name), "offline")
            [found] = await other.list_owned()
            assert (found.id, found.state) == (name, InstanceState.PENDING)
            told = (await other.describe([name]))[name]
            assert (told.state, told.details["billed"]) == (InstanceState.GONE, True)
            assert len(vastai_api.ours) == 1
            await other.terminate([name])

    asyncio.run(main())
    assert vastai_api.ours == []


def test_a_host_that_has_failed_is_not_rented_again_and_one_that_was_outbid_is(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            for status, again in (("stopped", True), ("exited", False)):
                order = await request(session, spec, "spot")
                [made] = await session.launch(order)
                vastai_api.die(int(made.id), status)
                await session.describe([made.id])
                hosts = {offer.details["machine"] for offer in await session.offers(order.spec)}
                assert (order.offer.details["machine"] in hosts) == again

    asyncio.run(main())


def test_all_pages_are_read(vastai_api: VastAIServer, opened: Opened, spec: Spec, identity: Identity) -> None:
    who = identity()
    with vastai_api.lock:
        for ask in vastai_api.market.asks:
            label = MachineLabel.of(who, ask.id).text(256)
            vastai_api.rented(ask, {"image": "x", "label": label})

    async def main() -> None:
        async with opened() as session:
            ids = [each.id for each in await session.list_owned(who.pool_id)]
            assert len(ids) == len(vastai_api.market.asks) == 29
            await session.terminate(ids)

    asyncio.run(main())
    assert vastai_api.ours == []
    assert len({each.query.get("after_token") for each in vastai_api.asked("GET /api/v1/instances")}) > 1


def test_a_key_that_is_deleted_in_mid_life_is_told_by_a_search_too_which_answers_404(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    async def main() -> None:
        async with opened() as session:
            vastai_api.key = "another"
            with pytest.raises(AuthenticationFailed, match="set VAST_API_KEY"):
                await session.offers(spec())

    asyncio.run(main())
    assert [each.status for each in vastai_api.asked("POST *")] == [404]
