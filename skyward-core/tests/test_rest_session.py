"""Sessions of vendors with a REST API: what they launch they tell or remove, and what is not theirs they leave."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rest_moons import OFFER, TOKEN, Moons, MoonServer, MoonSession, identity, request
from rest_server import CUT, Play, served

from skyward.errors import AuthenticationFailed, ProviderError, Transient, Unavailable
from skyward.spi import Belongings, Instance, InstanceState, MachineLabel, Order, Session
from skyward.testing._hurry import HurriedClock, hurried


@pytest.fixture
def sky() -> Iterator[MoonServer]:
    with served(MoonServer()) as running:
        yield running
        assert running.moons["m0"] == {"id": "m0", "label": "skyward-of-a-stranger", "state": "up", "ip": "10.9.9.9"}


@pytest.fixture(autouse=True)
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


@asynccontextmanager
async def opened(sky: MoonServer, pool_id: str = "a1b2c3d4e5", **more: Any) -> AsyncIterator[MoonSession]:
    session = await Moons(sky.endpoint).open(identity(pool_id, **more))
    try:
        yield session
    finally:
        await session.close()


def on_a_loop[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the server is on threads of its own
            await asyncio.sleep(0.001)


def states(found: Any) -> dict[str, InstanceState]:
    return {each.id: each.state for each in (found.values() if hasattr(found, "values") else found)}


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


# ---- ending


@on_a_loop
async def test_terminate_waits_until_the_vendor_says_that_they_are_gone(sky: MoonServer) -> None:
    sky.lingers = 4
    async with opened(sky) as session:
        machines = await session.launch(request(3))
        await session.terminate([each.id for each in machines])
        assert not sky.ours
        await session.terminate([each.id for each in machines])


@on_a_loop
async def test_what_stays_although_it_was_ended_is_told(sky: MoonServer, clock: HurriedClock) -> None:
    sky.lingers = 1000
    async with opened(sky) as session:
        [machine] = await session.launch(request())
        before = clock.monotonic()
        with pytest.raises(Transient, match=rf"{machine.id}.*still"):
            await session.terminate([machine.id])
        assert 20 < clock.monotonic() - before < 60
        assert states(await session.list_owned()).keys() == {machine.id}
        sky._ending.clear()
        sky.lingers = 0
        await session.terminate([machine.id])
        assert not sky.ours


@pytest.mark.parametrize("status", [400, 401, 500])
@on_a_loop
async def test_one_that_cannot_be_ended_does_not_keep_the_others(sky: MoonServer, status: int) -> None:
    sky.play("DELETE /moons/m2", *[Play(status)] * 40)
    async with opened(sky) as session:
        machines = await session.launch(request(4))
        with pytest.raises(ProviderError) as caught:
            await session.terminate([each.id for each in machines])
        assert isinstance(caught.value, {401: AuthenticationFailed, 500: Transient}.get(status, ProviderError))
        assert sky.ours == ["m2"]
        assert sky.keys == {"a1b2c3d4e5"}  # it still has a machine
        sky._plays.clear()
        await session.terminate([each.id for each in machines])
        assert not sky.ours
        assert not sky.keys


@on_a_loop
async def test_own_machines_are_ended_even_when_nothing_is_to_be_known_of_others(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request(2))
        sky.play("GET /moons*", *[Play(400, {"message": "no looks today"})] * 2)
        with pytest.raises(ProviderError, match="no looks today"):
            await session.terminate(["m1", "stranger", "m2", "another"])
        assert not sky.ours


@on_a_loop
async def test_a_cancelled_terminate_ends_all_the_same(sky: MoonServer) -> None:
    async with opened(sky) as session:
        machines = await session.launch(request(3))
        ending = asyncio.ensure_future(session.terminate([each.id for each in machines]))
        await until(lambda: sky.count("DELETE *") > 0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert not sky.ours
        assert not sky.keys


# ---- deadlines


@on_a_loop
async def test_a_deadline_that_is_moved_is_told_by_everybody_and_given_to_those_to_come(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request(2))
        await session.extend(["m1", "nobody"], 2_000_000_000.25)
        await session.launch(request(1, first=2))
        async with opened(sky, "another") as other:
            for each in (session, other):
                found = {machine.id: machine.deadline for machine in await each.list_owned("a1b2c3d4e5")}
                assert found == {"m1": 2_000_000_000.25, "m2": 1_900_000_000.0, "m3": 2_000_000_000.25}
        before, after = (MachineLabel.read(sky.moons[name]["label"]) for name in ("m2", "m1"))
        assert before is not None
        assert after is not None
        assert (after.lease, after.owner, after.client) == (before.lease, before.owner, before.client)


@on_a_loop
async def test_one_deadline_that_cannot_be_moved_does_not_keep_the_others(sky: MoonServer) -> None:
    sky.play("PATCH /moons/m1", Play(400))
    async with opened(sky) as session:
        await session.launch(request(2))
        with pytest.raises(ProviderError):
            await session.extend(["m1", "m2"], 2_000_000_000.0)
        assert (await session.describe(["m2"]))["m2"].deadline == 2_000_000_000.0


# ---- belongings


@on_a_loop
async def test_belongings_are_made_once_and_go_with_the_last_machine(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request(2))
        await session.launch(request(1, first=2))
        assert sky.count("POST /keys") == 1
        await session.terminate(["m1", "m2"])
        assert sky.keys == {"a1b2c3d4e5"}
        await session.terminate(["m3"])
        assert not sky.keys
        await session.launch(request())
        assert sky.keys == {"a1b2c3d4e5"}


@on_a_loop
async def test_belongings_stay_while_a_machine_is_being_made(sky: MoonServer) -> None:
    async with opened(sky) as session:
        await session.launch(request())
        sky.arrived.clear()
        async with session.needed():
            await session.terminate(["m1"])
            assert sky.keys == {"a1b2c3d4e5"}
        await session.clear("a1b2c3d4e5")
        assert not sky.keys


@on_a_loop
async def test_belongings_half_made_are_removed_when_the_pool_ends(sky: MoonServer) -> None:
    sky.play("POST /keys", Play(400, effect=True))
    async with opened(sky) as session:
        with pytest.raises(ProviderError):
            await session.launch(request())
        assert sky.keys == {"a1b2c3d4e5"}
    assert not sky.keys


@on_a_loop
async def test_belongings_of_another_pool_go_with_its_last_machine(sky: MoonServer) -> None:
    first = await Moons(sky.endpoint).open(identity("first"))
    await first.launch(request(2))
    await first.rest.aclose()
    async with opened(sky, "second") as session:
        await session.terminate(["m1"])
        assert sky.keys == {"first"}
        await session.terminate(["m2"])
        assert not sky.keys


@on_a_loop
async def test_only_vendors_with_belongings_say_that_they_have_some(sky: MoonServer) -> None:
    async with opened(sky) as session:
        assert not isinstance(session, Belongings)


# ---- closing, and secrets


@on_a_loop
async def test_closing_leaves_machines_and_what_they_need_alone(sky: MoonServer) -> None:
    session = await Moons(sky.endpoint).open(identity())
    await session.launch(request())
    await session.close()
    await session.close()
    assert sky.ours == ["m1"]
    assert sky.keys == {"a1b2c3d4e5"}
    with pytest.raises(ProviderError, match="closed"):
        await session.describe(["m1"])


@on_a_loop
async def test_closing_lets_go_even_when_the_vendor_does_not_answer(
    sky: MoonServer, caplog: pytest.LogCaptureFixture
) -> None:
    session = await Moons(sky.endpoint).open(identity())
    sky.play("POST /moons", Play(400))
    sky.play("GET /moons", *[Play(500)] * 99)
    with pytest.raises(ProviderError):
        await session.launch(request())
    await session.close()
    assert "may be left" in caplog.text
    assert session.rest._attempts.transfer._client is None


@on_a_loop
async def test_no_secret_is_told(sky: MoonServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(seen: Any) -> tuple[int, object]:
        return 400, {"detail": f"no good: {seen.body} from {seen.headers}"}

    async with opened(sky) as session:
        usual, sky.reply = sky.reply, lambda seen: echo(seen) if str(seen) == "POST /moons" else usual(seen)  # type: ignore[method-assign]
        with pytest.raises(ProviderError) as caught:
            await session.launch(request())
        [seen] = [each for each in sky.seen if str(each) == "POST /moons"]
        told = f"{caught.value!r} {session.rest!r} {vars(caught.value)}" + " ".join(
            record.getMessage() for record in caplog.records if record.name.startswith("skyward")
        )
        assert "no good" in told
        secrets = [TOKEN, "pool-t0ken", *(line for line in seen.body["host_key"].splitlines() if "-----" not in line)]
        assert not [each for each in secrets if each in told]
        names = [each["label"] for each in sky.moons.values()] + list(sky.keys)
        assert not [each for each in secrets if each in " ".join(names)]


@on_a_loop
async def test_the_road_knows_the_key_that_its_machine_was_given(sky: MoonServer) -> None:
    async with opened(sky) as session:
        first, second = await session.launch(request(2))
        road: Any = session.transport(first, None)  # type: ignore[arg-type]
        address = road._ways._address
        assert address.host == first.ip
        assert address.key is not None
        other: Any = session.transport(second, None)  # type: ignore[arg-type]
        assert address.host_key.split()[1] != other._ways._address.host_key.split()[1]
        assert await road._ended() is False
        await session.terminate([first.id])
        assert await road._ended() is True
