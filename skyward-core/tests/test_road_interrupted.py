"""Pools that are interrupted, and machines that are replaced: at whatever moment it happens, nothing is left."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from road_fakes import After, FakeProvider, Hang, Journey, VirtualLoop, on_demand, run, spot, virtually

import skyward as sky
from skyward.errors import (
    BootstrapError,
    ProvisioningError,
    Transient,
    Unavailable,
)

pytestmark = pytest.mark.usefixtures("own_ledgers")


def ledger(state: Path) -> list[dict[str, Any]]:
    """The facts of the one ledger that there is."""
    (path,) = state.rglob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


# interruptions


def provider_with_everything() -> FakeProvider:
    """Every branch of the road: a passing failure, a partial launch, a slow boot, forgetfulness."""
    offers = [spot(capacity=1), on_demand()]
    script: dict[str, list[object]] = {"launch": [Transient("busy")], "terminate": [Transient("busy")]}
    return FakeProvider(offers=offers, boot=3.0, forgetful=1, script=script)


def steps() -> tuple[int, int]:
    """At which step of the loop a journey's provisioning is over, and at which one all of it."""
    loop = VirtualLoop()

    async def whole() -> int:
        journey = Journey(provider_with_everything(), nodes=2)
        await journey.road.provision()
        ready = loop.steps
        await journey.road.destroy()
        return ready

    return run(whole(), loop), loop.steps


@pytest.mark.parametrize("how", ["cancel", "cancel and destroy", "cancel twice"])
def test_a_provisioning_that_is_cancelled_at_any_await_leaves_nothing(how: str, tmp_path: Path) -> None:
    total, _ = steps()
    assert total > 50
    cancelled = 0
    for step in range(1, total):
        loop = VirtualLoop()

        async def interrupted(loop: VirtualLoop = loop, step: int = step) -> bool:
            journey = Journey(provider_with_everything(), nodes=2)
            provisioning = asyncio.ensure_future(journey.road.provision())
            ends: list[asyncio.Future[None]] = []

            def interrupt() -> None:
                provisioning.cancel()
                if how == "cancel and destroy":  # what a pool does whose block is interrupted while it is entered
                    ends.append(asyncio.ensure_future(journey.road.destroy()))

            loop.at_step[step] = interrupt
            if how == "cancel twice":
                loop.at_step[step + 3] = lambda: provisioning.cancel()
            try:
                await provisioning
                was_cancelled = False
            except asyncio.CancelledError:
                was_cancelled = True
            await asyncio.gather(*ends)
            await journey.road.destroy()
            assert list(journey.leftovers(tmp_path)) == [], f"cancelled at step {step}"
            return was_cancelled

        cancelled += run(interrupted(), loop)
    assert cancelled > total - 10


def test_an_end_that_is_cancelled_at_any_await_goes_on_to_its_end(tmp_path: Path) -> None:
    begin, total = steps()
    for step in range(begin + 2, total):  # before that it has not begun
        loop = VirtualLoop()

        async def interrupted(loop: VirtualLoop = loop, step: int = step) -> None:
            journey = Journey(provider_with_everything(), nodes=2)
            await journey.road.provision()
            destroying = asyncio.ensure_future(journey.road.destroy())
            loop.at_step[step] = lambda: destroying.cancel()
            await asyncio.gather(destroying, return_exceptions=True)
            assert list(journey.leftovers(tmp_path)) == [], f"cancelled at step {step}"

        run(interrupted(), loop)


@virtually
async def test_whoever_waits_for_an_order_that_is_not_wanted_any_more_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "skyward")
    for takes, told in ((1.5, False), (8.0, True)):
        caplog.clear()
        journey = Journey(FakeProvider(script={"launch": [takes]}))
        provisioning = asyncio.ensure_future(journey.road.provision())
        await asyncio.sleep(0.5)
        provisioning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await provisioning
        await journey.road.destroy()
        assert ("waiting up to 10 s for what Fake is launching" in caplog.text) is told


@pytest.mark.parametrize("entry", [Hang, After(Hang), 5.0, After(RuntimeError("oops"))])
@virtually
async def test_an_order_under_way_is_seen_through_when_the_pool_is_cancelled(entry: object, tmp_path: Path) -> None:
    journey = Journey(FakeProvider(script={"launch": [entry]}), nodes=2)
    provisioning = asyncio.ensure_future(journey.road.provision())
    await asyncio.sleep(1)
    provisioning.cancel()
    with pytest.raises((asyncio.CancelledError, ProvisioningError)):
        await provisioning
    assert asyncio.get_running_loop().time() < 60
    await journey.road.destroy()
    left = list(journey.leftovers(tmp_path))
    ledgers = [what for what in left if what.startswith("ledger ")]
    assert left == ledgers
    # What was never answered may still come to something: that stays in the ledger, for the next client to look.
    assert bool(ledgers) == (entry is Hang)


# replacing a machine that was lost


def lose(journey: Journey, index: int) -> Any:
    """A node whose machine has ended by itself."""
    node = journey.dispatcher.nodes.pop(index)
    journey.providers[0].lose(node.instance.id)
    return node


@virtually
async def test_a_lost_machine_is_replaced_under_the_same_index(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=2)
    await journey.road.provision()
    lost = lose(journey, 1)
    noted: list[str] = []
    await journey.road.replace(lost, lambda: noted.append("ready"))
    assert journey.dispatcher.nodes[1].instance.id == "i-2"
    told = journey.providers[0].machines[2].configuration
    assert told is not None
    assert told["cluster"]["node"] == 1
    assert noted == ["ready"]
    replaced = [event for event in journey.events if isinstance(event, sky.NodeReplaced)]
    assert replaced == [sky.NodeReplaced(1, "i-1", "i-2")]
    assert journey.cost.update().spot_count == 2
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_replacement_that_fails_leaves_the_other_machines_and_nothing_else(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=2)
    await journey.road.provision()
    lost = lose(journey, 1)
    journey.providers[0].script["bootstrap"] = [BootstrapError("pip failed")]
    with pytest.raises(BootstrapError):
        await journey.road.replace(lost, lambda: None)
    assert journey.alive == ["i-0"]
    assert journey.providers[0].open_roads == {"i-0"}
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_lost_machine_that_cannot_be_ended_now_is_replaced_all_the_same(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(), nodes=1)
    await journey.road.provision()
    node = journey.dispatcher.nodes.pop(0)
    journey.providers[0].script["terminate"] = [Unavailable("no API now")] * 30
    await journey.road.replace(node, lambda: None)
    assert journey.dispatcher.nodes[0].instance.id == "i-1"
    assert "ended later, with the pool" in caplog.text
    journey.providers[0].script.clear()
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


def test_a_pool_that_ends_while_a_machine_is_replaced_leaves_nothing(tmp_path: Path) -> None:
    for step in range(1, 40):

        async def ended(step: int = step) -> None:
            journey = Journey(FakeProvider(boot=1.0), nodes=2)
            await journey.road.provision()
            lost = lose(journey, 0)
            replacing = asyncio.ensure_future(journey.road.replace(lost, lambda: None))
            for _ in range(step):
                await asyncio.sleep(0)
            if step % 2:
                await asyncio.sleep(0.5)
            await journey.road.destroy()
            await asyncio.gather(replacing, return_exceptions=True)
            assert list(journey.leftovers(tmp_path)) == [], f"ended at step {step}"

        run(ended())


@virtually
async def test_two_lost_machines_are_replaced_side_by_side_without_harm(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=3)
    await journey.road.provision()
    lost = [lose(journey, index) for index in (0, 2)]
    # One order fails in a way that has what it left behind looked for, while the other one is on its way.
    journey.providers[0].script["launch"] = [After(Transient("the reply was lost"))]
    await asyncio.gather(*(journey.road.replace(node, lambda: None) for node in lost))
    assert len(journey.alive) == 3
    assert sorted(journey.dispatcher.nodes) == [0, 1, 2]
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []
