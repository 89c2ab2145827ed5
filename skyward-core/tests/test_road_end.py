"""The end of a pool: tried again, proven, and told where it cannot be proven."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from road_fakes import After, FakeProvider, Hang, Journey, spot, virtually

from skyward.errors import (
    ProvisioningError,
    Transient,
    Unavailable,
    UsageError,
)


@pytest.fixture(autouse=True)
def _on_fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def ledger(state: Path) -> list[dict[str, Any]]:
    """The facts of the one ledger that there is."""
    (path,) = state.rglob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


# the end


@pytest.mark.parametrize(
    "script",
    [
        {"terminate": [Transient("busy"), RuntimeError("oops"), Unavailable("maintenance")]},
        {"terminate": [After(Transient("the reply was lost"))] * 3},
        {"terminate": [Hang, After(Hang), Hang]},
        {"list_owned": [Transient("busy"), RuntimeError("oops"), Hang]},
        {"close": [RuntimeError("oops")]},
        {"transport.close": [Hang, RuntimeError("oops")]},
    ],
)
@virtually
async def test_machines_are_ended_although_ending_fails_three_times(
    script: dict[str, list[object]], tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(script=script), nodes=2)
    await journey.there_and_back()
    left = [what for what in journey.leftovers(tmp_path) if "session" not in what and "road" not in what]
    assert left == []


@virtually
async def test_a_machine_counts_as_ended_only_when_its_provider_says_so(tmp_path: Path) -> None:
    provider = FakeProvider(forgetful=7)
    journey = Journey(provider)
    await journey.there_and_back()
    assert len(provider.called("terminate")) == 8
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_machines_that_cannot_be_ended_are_named_and_stay_in_the_ledger(tmp_path: Path) -> None:
    stuck = FakeProvider(
        "Stuck", [spot("Stuck", capacity=1)], script={"terminate": [Unavailable("no API today")] * 999}
    )
    sound = FakeProvider("Sound")
    journey = Journey(stuck, sound, nodes=2)
    await journey.road.provision()
    with pytest.raises(ProvisioningError) as caught:
        await journey.road.destroy()
    assert "these machines may still run and cost money: i-0 of Stuck (no API today)" in str(caught.value)
    assert "end them at the provider" in str(caught.value)
    assert journey.road.remaining == ["i-0"]
    assert sound.alive == []
    assert "terminated" in [fact["fact"] for fact in ledger(tmp_path)]
    assert journey.names[-1] == "Error"
    assert (stuck.open_sessions, sound.open_sessions) == (0, 0)
    assert journey.cost.update().spot_count == 1, "it costs on"
    with pytest.raises(ProvisioningError):
        await journey.road.destroy()


@virtually
async def test_machines_that_nobody_told_of_are_found_by_their_tag_and_ended(tmp_path: Path) -> None:
    provider = FakeProvider()

    def one_more(request: Any) -> Any:
        return provider.sessions[0].create(evolve(request, nodes=(0, 1)))[:1]

    provider.script["launch"] = [one_more]
    journey = Journey(provider)
    await journey.road.provision()
    assert (len(provider.alive), len(journey.road.remaining)) == (2, 1)
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_machine_that_comes_into_being_late_is_waited_for(tmp_path: Path) -> None:
    provider = FakeProvider()

    async def late(request: Any) -> None:
        await asyncio.sleep(3)
        provider.sessions[0].create(request)

    tasks: list[asyncio.Task[None]] = []

    def lost_reply(request: Any) -> Any:
        tasks.append(asyncio.ensure_future(late(request)))
        raise ConnectionResetError("connection reset by peer")

    provider.script["launch"] = [lost_reply]
    journey = Journey(provider, allocation="on-demand")
    with pytest.raises(ProvisioningError):
        await journey.road.provision()
    assert len(provider.machines) == 1
    assert list(journey.leftovers(tmp_path)) == []
    await asyncio.gather(*tasks)


@virtually
async def test_when_a_launch_ended_unclearly_and_nothing_can_be_listed_the_user_is_told(tmp_path: Path) -> None:
    script: dict[str, list[object]] = {"launch": [RuntimeError("oops")], "list_owned": [RuntimeError("no list")] * 99}
    journey = Journey(FakeProvider(script=script))
    with pytest.raises(ProvisioningError) as caught:
        await journey.road.provision()
    assert f"machines of Fake with the tag {journey.road.pool_id}, if there are any" in str(caught.value)
    assert ledger(tmp_path)


@virtually
async def test_when_nothing_can_be_listed_after_an_orderly_end_that_is_logged_only(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(script={"list_owned": [RuntimeError("no list")] * 99}))
    await journey.there_and_back()
    assert "cannot list what pool" in caplog.text
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_pool_that_has_ended_buys_nothing_more() -> None:
    journey = Journey(FakeProvider())
    await journey.there_and_back()
    with pytest.raises(UsageError, match="this pool has ended"):
        await journey.road.provision()
    assert len(journey.providers[0].machines) == 1
    await journey.road.destroy()
