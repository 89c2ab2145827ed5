"""Sessions of vendors with a REST API: what they launch they tell or remove, and what is not theirs they leave."""

from __future__ import annotations

import asyncio

import pytest
from rest_moons import OFFER, Moons, MoonServer, MoonSession, identity, request
from rest_server import CUT, Play
from rest_sessions import clock as clock
from rest_sessions import on_a_loop, opened, states, until
from rest_sessions import sky as sky

from skyward.errors import AuthenticationFailed, ProviderError, Transient, Unavailable
from skyward.spi import Instance, InstanceState, MachineLabel, Order, Session
from skyward.testing._hurry import HurriedClock

# ---- launching


@on_a_loop
async def test_each_node_gets_a_machine_that_bears_the_pools_label(sky: MoonServer) -> None:
    async with opened(sky) as session:
        contract: Session = session
        machines = await contract.launch(request(3))
        assert [each.node for each in machines] == [0, 1, 2]
        assert len({each.id for each in machines}) == 3
        for each in machines:
            label = MachineLabel.read(sky.moons[each.id]["label"])
            assert label is not None
            assert (label.pool_id, label.node, label.deadline, label.lease) == (
                "a1b2c3d4e5",
                each.node,
                1_900_000_000.0,
                600,
            )
            assert (each.pool_id, each.owner, each.client, each.offer) == ("a1b2c3d4e5", "ada@host", "abc-1-2", OFFER)
        scripts = {each.body["script"] for each in sky.seen if str(each) == "POST /moons"}
        assert all("/run/skyward" in each for each in scripts)
        assert len({each.body["host_key"] for each in sky.seen if str(each) == "POST /moons"}) == 3


@on_a_loop
async def test_a_launch_that_gets_fewer_tells_those_that_came(
    sky: MoonServer, caplog: pytest.LogCaptureFixture
) -> None:
    sky.capacity = 2
    async with opened(sky) as session:
        machines = await session.launch(request(20))
        assert sorted(each.id for each in machines) == sky.ours
        assert len(machines) == 2
        assert "no room in the sky" in caplog.text
        # What is sold out for one is for the others: they are not asked for one by one.
        assert sky.count("POST /moons") < 20


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (Play(401), AuthenticationFailed),
        (Play(409, {"message": "full"}), Unavailable),
        (Play(400), ProviderError),
        (Play(CUT), Transient),
    ],
    ids=["401", "409", "400", "cut"],
)
@on_a_loop
async def test_a_launch_without_any_machine_says_why(sky: MoonServer, play: Play, kind: type[ProviderError]) -> None:
    sky.play("POST /moons", play)
    async with opened(sky) as session:
        with pytest.raises(kind):
            await session.launch(request())
    assert not sky.ours
    assert not sky.keys


@on_a_loop
async def test_of_several_reasons_the_most_telling_is_raised(sky: MoonServer) -> None:
    sky.play("POST /moons", Play(400), Play(409), Play(400), Play(401), Play(400))
    async with opened(sky) as session:
        with pytest.raises(AuthenticationFailed):
            await session.launch(request(5))


@on_a_loop
async def test_an_order_without_an_answer_is_found_and_not_repeated(sky: MoonServer) -> None:
    sky.play("POST /moons", Play(CUT, effect=True), Play(500, effect=True))
    sky.unlisted = 3
    async with opened(sky) as session:
        machines = await session.launch(request(2))
        assert sorted(each.id for each in machines) == sky.ours == ["m1", "m2"]
        assert {each.node for each in machines} == {0, 1}
        assert sky.count("POST /moons") == 2


class Stumbling(MoonSession):
    """Its package has a mistake."""

    async def _create(self, order: Order) -> Instance:
        await super()._create(order)
        raise KeyError("a mistake after the effect")


class Failing(MoonSession):
    """What is to be done with a machine after it was made fails for one of them."""

    async def _complete(self, order: Order, machine: Instance) -> Instance:
        if order.node == 1:
            raise Unavailable("no ring for this moon")
        return machine


@on_a_loop
async def test_what_a_mistake_has_made_is_removed(sky: MoonServer) -> None:
    async with opened(sky) as other:
        await other.launch(request())
        session = Stumbling(other.settings, other.identity, other.rest)
        with pytest.raises(KeyError):
            await session.launch(request(2, first=1))
        assert sky.ours == ["m1"]


@on_a_loop
async def test_what_cannot_be_completed_is_removed_and_the_others_are_told(sky: MoonServer) -> None:
    async with opened(sky) as plain:
        session = Failing(plain.settings, plain.identity, plain.rest)
        machines = await session.launch(request(3))
        assert [each.node for each in machines] == [0, 2]
        assert sky.ours == sorted(each.id for each in machines)


@pytest.mark.parametrize("creates", [1, 2, 5])
@on_a_loop
async def test_a_cancelled_launch_leaves_no_machine_and_orders_no_more(sky: MoonServer, creates: int) -> None:
    async with opened(sky) as session:
        launching = asyncio.ensure_future(session.launch(request(30)))
        await until(lambda: sky.count("POST /moons") >= creates)
        launching.cancel()
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
        assert not sky.ours
        assert sky.count("POST /moons") < 30
        assert not session.known.untold()


# ---- looking


@on_a_loop
async def test_a_machine_that_the_vendor_does_not_list_yet_is_pending(sky: MoonServer, clock: HurriedClock) -> None:
    sky.play("GET /moons/m1", *[Play(404)] * 3)
    async with opened(sky) as session:
        await session.launch(request())
        assert states(await session.describe(["m1"])) == {"m1": InstanceState.PENDING}
        sky.unlisted = 1
        assert states(await session.list_owned("a1b2c3d4e5")) == {"m1": InstanceState.PENDING}
        await clock.sleep(300)
        assert await session.describe(["m1"]) == {}


@on_a_loop
async def test_a_machine_that_was_seen_once_and_is_not_there_is_gone(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request())
        assert states(await session.describe(["m1"])) == {"m1": InstanceState.PENDING}
        assert states(await session.describe(["m1"])) == {"m1": InstanceState.RUNNING}
        del sky.moons["m1"]
        assert await session.describe(["m1"]) == {}
        assert await session.list_owned() == []


@on_a_loop
async def test_what_a_list_leaves_out_is_asked_for_by_itself(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request(2))
        await session.describe(["m1", "m2"])
        sky.unlisted = 1
        assert states(await session.describe(["m1", "m2"])).keys() == {"m1", "m2"}


@on_a_loop
async def test_a_machine_without_an_address_does_not_run_yet(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request())
        sky.moons["m1"]["ip"] = None
        assert states(await session.describe(["m1"])) == {"m1": InstanceState.PENDING}


@pytest.mark.parametrize("ids", [["m0"], ["m0", "nobody", "../keys", "..", "a/b", "", "mün chen?x=1#y"]], ids=len)
@on_a_loop
async def test_strangers_are_not_told_and_not_ended(sky: MoonServer, ids: list[str]) -> None:
    async with opened(sky) as session:
        assert await session.describe(ids) == {}
        await session.terminate(ids)
        await session.extend(ids, 5.0)
        assert not sky.count("DELETE *")
        assert not sky.count("PATCH *")
        assert await session.list_owned() == []


@on_a_loop
async def test_machines_are_found_by_the_exact_pool_without_local_state(sky: MoonServer) -> None:
    pools = ["a1", "a1b", "a", "A1", "a1-0", "a1:0", "ä1"]
    for pool_id in pools:
        session = await Moons(sky.endpoint).open(identity(pool_id))
        await session.launch(request())
        await session.rest.aclose()
    async with opened(sky, "another") as session:
        for pool_id in pools:
            assert [each.pool_id for each in await session.list_owned(pool_id)] == [pool_id]
        assert {each.pool_id for each in await session.list_owned()} == set(pools)
        [found] = await session.list_owned("a1")
        assert (found.owner, found.client, found.deadline) == ("ada@host", "abc-1-2", 1_900_000_000.0)


@on_a_loop
async def test_a_machine_that_serves_nobody_and_is_billed_is_found_and_ended(sky: MoonServer) -> None:
    async with opened(sky, "first") as session:
        await session.launch(request())
        sky.moons["m1"]["state"] = "waning"
        assert states(await session.list_owned("first")) == {"m1": InstanceState.PENDING}
        async with opened(sky, "second") as other:
            assert states(await other.list_owned()) == {"m1": InstanceState.PENDING}
            assert states(await other.describe(["m1"])) == {"m1": InstanceState.GONE}
            assert sky.ours == ["m1"]  # another pool's is not for this one to judge
            await other.terminate(["m1"])
        assert not sky.ours


@on_a_loop
async def test_a_machine_of_the_pool_that_is_gone_and_billed_is_ended_when_it_is_looked_at(
    sky: MoonServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(sky) as session:
        await session.launch(request(2))
        sky.moons["m1"]["state"] = "waning"
        sky.play("DELETE /moons/m1", Play(400, {"message": "not now"}))
        assert states(await session.describe(["m1", "m2"]))["m1"] is InstanceState.GONE
        assert "costs on" in caplog.text
        assert "not now" in caplog.text
        assert states(await session.describe(["m1", "m2"]))["m1"] is InstanceState.GONE
        assert sky.ours == ["m2"]
