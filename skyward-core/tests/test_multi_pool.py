"""Several pools that are provisioned side by side, on fake clouds: how long it takes, and what is left if one fails."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward.testing import FakeCloud, Hang, no_machines_left

STATES = ["booting", "bootstrapping", "ready"]


class Scene:
    """Two clouds on one clock, a pool on each, and all that they must not leave behind."""

    def __init__(self, state: Path, first: FakeCloud, second: FakeCloud) -> None:
        self.state = state
        self.clouds = (first, second)
        self._reached = {state: threading.Event() for state in STATES}

    def pools(self) -> tuple[sky.ComputePool, sky.ComputePool]:
        """On each cloud one. Without a lease: the clock jumps, and their clients' words come by the real time."""
        first, second = self.clouds
        return (
            sky.ComputePool(first.provider, nodes=2, lease=None, display="quiet", on_event=self._note),
            sky.ComputePool(second.provider, lease=None, display="quiet"),
        )

    def _note(self, event: Any) -> None:
        if isinstance(event, sky.ClusterReady):
            self._reached["ready"].set()

    def hold_first(self, state: str) -> None:
        """Let the first pool get so far and no further."""

        async def stay(_: Any) -> Any:
            self._reached[state].set()
            await asyncio.Event().wait()

        if state == "booting":
            self.clouds[0].script("describe", stay)
        elif state == "bootstrapping":
            self.clouds[0].script("bootstrap", stay, stay)

    async def first_is(self, state: str) -> None:
        """Wait until the first pool has got so far."""
        assert await asyncio.to_thread(self._reached[state].wait, 60)

    def leftovers(self, *pools: sky.ComputePool) -> list[object]:
        found: list[object] = [path.name for path in self.state.rglob("*.jsonl")]
        for cloud in self.clouds:
            found += [*cloud.alive, *cloud.open_roads, *range(cloud.open_sessions)]
        return [*found, *(pool for pool in pools if pool.is_active)]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with (
        no_machines_left(),
        FakeCloud("One", boot_seconds=100, nodes="simulated") as first,
        FakeCloud("Two", boot_seconds=250, nodes="simulated") as second,
    ):
        assert first.clock is second.clock
        yield Scene(tmp_path, first, second)


def meet(barrier: threading.Barrier, cloud: FakeCloud) -> Callable[[Any], Any]:
    """A launch that is answered once the other cloud has launched as well."""

    async def launch(request: Any) -> Any:
        made = cloud.sessions[-1].create(request)
        await asyncio.to_thread(barrier.wait, 60)
        return made

    return launch


def test_it_takes_as_long_as_the_slowest_one(scene: Scene) -> None:
    barrier = threading.Barrier(2)
    for cloud in scene.clouds:
        cloud.script("launch", meet(barrier, cloud))
    with sky.MultiPool(*scene.pools()) as (one, two):
        assert scene.clouds[0].clock.monotonic() == 250
        assert (one.instance_count, two.instance_count) == (2, 1)
    assert not scene.leftovers(one, two)


def test_coroutines_wait_for_the_slowest_one(scene: Scene) -> None:
    barrier = threading.Barrier(2)
    for cloud in scene.clouds:
        cloud.script("launch", meet(barrier, cloud))

    async def main() -> None:
        async with sky.MultiPool(*scene.pools()) as (one, two):
            assert scene.clouds[0].clock.monotonic() == 250
            assert (one.instance_count, two.instance_count) == (2, 1)
        assert not scene.leftovers(one, two)

    asyncio.run(main())


# one fails

STAGES = ["open", "offers", "launch", "describe", "boot", "bootstrap"]


def break_second(scene: Scene, stage: str, state: str) -> type[Exception]:
    """Have the second pool fail at a stage, once the first one is in a state; the class of its error."""
    scene.hold_first(state)
    second = scene.clouds[1]
    wrong = sky.BootstrapError("pip failed") if stage == "bootstrap" else sky.AuthenticationFailed("set TWO_KEY")

    async def fail(_: Any) -> Any:
        await scene.first_is(state)
        raise wrong

    async def vanish(_: Any) -> dict[str, Any]:
        await scene.first_is(state)
        second.sell()
        for machine in second.alive:
            second.lose(machine)
        return {}

    if stage == "boot":
        second.script("describe", vanish)
        return sky.ProvisioningError
    second.script(stage, fail)
    return type(wrong)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("stage", STAGES)
def test_one_that_fails_at_any_stage_takes_the_other_down_and_nothing_is_left(
    stage: str, state: str, scene: Scene
) -> None:
    error = break_second(scene, stage, state)
    one, two = scene.pools()
    with pytest.raises(error) as caught, sky.MultiPool(one, two):
        pytest.fail("was entered")
    assert caught.value.__notes__ == [
        "this is of pool 2 of 2 in the MultiPool, 1 node(s) on Two; the others were ended"
    ]
    assert scene.clouds[0].machines
    assert not scene.leftovers(one, two)
    with pytest.raises(sky.UsageError, match="failed to start"):
        one.__enter__()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("stage", ["offers", "boot", "bootstrap"])
def test_one_that_fails_for_coroutines_takes_the_other_down_too(stage: str, state: str, scene: Scene) -> None:
    error = break_second(scene, stage, state)
    one, two = scene.pools()

    async def main() -> None:
        async with sky.MultiPool(one, two):
            pytest.fail("was entered")

    with pytest.raises(error) as caught:
        asyncio.run(main())
    assert caught.value.__notes__ == [
        "this is of pool 2 of 2 in the MultiPool, 1 node(s) on Two; the others were ended"
    ]
    assert scene.clouds[0].machines
    assert not scene.leftovers(one, two)


def test_the_error_is_that_of_the_first_to_fail_whatever_befalls_the_others_then(scene: Scene) -> None:
    error = break_second(scene, "bootstrap", "bootstrapping")
    first = scene.clouds[0]
    (hold, _) = first.script.pop("bootstrap")

    async def fail_when_cancelled(argument: Any) -> None:
        try:
            await hold(argument)  # type: ignore[operator]
        except asyncio.CancelledError:
            raise sky.BootstrapError("the disk is full") from None

    first.script("bootstrap", fail_when_cancelled, hold)
    one, two = scene.pools()
    with pytest.raises(error, match="pip failed") as caught, sky.MultiPool(one, two):
        pytest.fail("was entered")
    assert "this is of pool 2 of 2" in caught.value.__notes__[0]
    assert not scene.leftovers(one, two)


def test_a_machine_that_cannot_be_ended_is_named_beside_the_first_failure(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyward._teardown._PATIENCE", 0.1)
    error = break_second(scene, "bootstrap", "ready")
    first = scene.clouds[0]
    first.script("terminate", *[sky.Unavailable("no API today")] * 50)
    one, two = scene.pools()
    with pytest.raises(error) as caught, sky.MultiPool(one, two):
        pytest.fail("was entered")
    assert any("may still run and cost money: i-0, i-1 of One" in note for note in caught.value.__notes__)
    assert [path.stem for path in scene.state.rglob("*.jsonl")] == [first.machines[0].pool_id]
    first.script.clear()
    for machine in first.alive:
        first.lose(machine)


def test_a_pool_that_is_entered_already_is_refused_and_goes_on(scene: Scene) -> None:
    one, two = scene.pools()

    async def main() -> None:
        async with two:
            with pytest.raises(sky.UsageError, match="entered already") as caught:
                async with sky.MultiPool(one, two):
                    pytest.fail("was entered")
            assert "this is of pool 2 of 2" in caught.value.__notes__[0]
            assert two.is_active
            assert two.instance_count == 1

    asyncio.run(main())
    assert not scene.leftovers(one, two)


# interruptions


@pytest.mark.parametrize("state", STATES)
def test_a_ctrl_c_while_they_are_provisioned_leaves_nothing(state: str, scene: Scene) -> None:
    scene.hold_first(state)

    async def interrupt(_: Any) -> Any:
        await scene.first_is(state)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    scene.clouds[1].script("bootstrap", interrupt)
    one, two = scene.pools()
    with pytest.raises(KeyboardInterrupt), sky.MultiPool(one, two):
        pytest.fail("was entered")
    assert all(cloud.machines for cloud in scene.clouds)
    assert not scene.leftovers(one, two)


@pytest.mark.parametrize("times", [1, 2])
def test_coroutines_that_are_cancelled_while_they_provision_leave_nothing(times: int, scene: Scene) -> None:
    first, second = scene.clouds
    one, two = scene.pools()
    second.script("bootstrap", Hang)

    async def enter() -> None:
        async with sky.MultiPool(one, two):
            pytest.fail("was entered")

    async def main() -> None:
        entering = asyncio.ensure_future(enter())
        await scene.first_is("ready")
        for _ in range(times):
            entering.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert not scene.leftovers(one, two)

    asyncio.run(main())
    assert first.machines


def test_a_coroutine_that_cancels_itself_in_the_block_ends_all(scene: Scene) -> None:
    one, two = scene.pools()

    async def enter() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with sky.MultiPool(one, two):
            task.cancel()

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await enter()
        assert not scene.leftovers(one, two)

    asyncio.run(main())
    assert scene.clouds[1].machines
