"""The end of machines and of what they need at vendors with a REST API: whatever fails, the rest goes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from rest_moons import TOKEN, Moons, MoonServer, identity, request
from rest_server import Play
from rest_sessions import clock as clock
from rest_sessions import on_a_loop, opened, states, until
from rest_sessions import sky as sky

from skyward.errors import AuthenticationFailed, ProviderError, Transient
from skyward.spi import Belongings, MachineLabel
from skyward.testing._hurry import HurriedClock

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
