"""Moving a pool's deadline: for its machines, for those to come, and in their tags, which no machine outlives."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from road_fakes import FakeProvider, Hang, Journey, virtually

import skyward as sky
from skyward import _reap
from skyward.errors import AuthenticationFailed, ProvisioningError, Transient, Unavailable
from skyward.testing import FakeCloud

pytestmark = pytest.mark.usefixtures("own_ledgers")


def told(*clouds: FakeCloud) -> list[tuple[float | None, float | None]]:
    """Of each machine that is alive, the seconds of the clock at which its tag and it itself end it."""
    cloud = clouds[0]
    epoch = cloud.clock.time() - cloud.clock.monotonic()

    def by_the_clock(moment: float | None) -> float | None:
        return None if moment is None else round(moment - epoch, 3)

    return [
        (by_the_clock(each._backend.records[machine.id].tag), by_the_clock(machine.deadline))
        for each in clouds
        for machine in each.alive
    ]


def after(cloud: FakeCloud, seconds: float) -> float:
    return cloud.clock.time() + seconds


@virtually
async def test_tags_and_machines_of_all_providers_follow() -> None:
    one, other = FakeProvider("One"), FakeProvider("Other")
    journey = Journey(one, other, nodes=2, timeout=3600, allocation="on-demand")
    await journey.road.provision()
    for seconds in (7200, 1800):
        await journey.road.extend(after(one, seconds))
        await asyncio.sleep(1)
        assert set(told(one, other)) == {(one.clock.monotonic() - 1 + seconds,) * 2}
    assert len(one.called("extend")) == len(other.called("extend")) == 2, "for machines that may be bought there later"
    await journey.road.destroy()


@virtually
async def test_a_passing_failure_is_asked_again_and_the_machines_wait_for_their_tags() -> None:
    cloud = FakeProvider(script={"extend": [Transient("busy"), 5.0, None]})
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    before = journey.road.deadline
    moving = asyncio.ensure_future(journey.road.extend(after(cloud, 7200)))
    await asyncio.sleep(3)
    assert journey.road.deadline == before
    assert told(cloud)[0][1] == 3600
    await moving
    await asyncio.sleep(1)
    assert told(cloud) == [(7200, 7200)]
    await journey.road.destroy()


@pytest.mark.parametrize("failure", [Unavailable("no API today"), AuthenticationFailed("the key has run out"), Hang])
@virtually
async def test_where_the_tags_cannot_be_moved_no_machine_lives_longer_and_the_error_says_what_to_do(
    failure: Any,
) -> None:
    sound, broken = FakeProvider("Sound", offers=None), FakeProvider("Broken", script={"extend": [failure] * 999})
    journey = Journey(broken, timeout=3600)
    await journey.road.provision()
    with pytest.raises(
        ProvisioningError, match=r"i-0 of Broken \(.*\); all machines .* at [0-9:]+, so call pool.extend"
    ):
        await journey.road.extend(after(broken, 7200))
    assert told(broken) == [(3600, 3600)]
    assert journey.road.deadline == pytest.approx(after(broken, 3600 - broken.clock.monotonic()))
    await journey.road.destroy()
    assert not sound.machines


@virtually
async def test_a_provider_without_machines_keeps_nobody_from_extending(caplog: pytest.LogCaptureFixture) -> None:
    one, idle = FakeProvider("One"), FakeProvider("Idle", script={"extend": [Unavailable("no API today")] * 999})
    journey = Journey(one, idle, timeout=3600)
    await journey.road.provision()
    await journey.road.extend(after(one, 7200))
    assert told(one)[0][0] == 7200
    assert "Idle was not told of the new deadline: no API today" in caplog.text
    await journey.road.destroy()


@virtually
async def test_a_deadline_is_brought_forward_though_the_tags_stay_behind(caplog: pytest.LogCaptureFixture) -> None:
    cloud = FakeProvider(script={"extend": [Unavailable("no API today")] * 999})
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    moving = asyncio.ensure_future(journey.road.extend(after(cloud, 600)))
    await asyncio.sleep(0.1)
    assert told(cloud) == [(3600, 600)], "at once: no machine lives longer than its tag says"
    await moving
    assert "not by their tags: i-0 of Fake (no API today)" in caplog.text
    await journey.road.destroy()


@virtually
async def test_a_pool_without_a_deadline_gets_one() -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, timeout=None)
    await journey.road.provision()
    assert told(cloud) == [(None, None)]
    await journey.road.extend(after(cloud, 600))
    await asyncio.sleep(1)
    assert told(cloud) == [(600, 600)]
    await journey.road.destroy()


@virtually
async def test_a_machine_that_is_bought_later_has_the_new_deadline() -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    await journey.road.extend(after(cloud, 7200))
    (node,) = journey.dispatcher.nodes.values()
    cloud.lose(0)
    await journey.road.replace(node, lambda: None)
    await asyncio.sleep(1)
    assert told(cloud) == [(7200, 7200)]
    await journey.road.destroy()


@pytest.mark.parametrize("call", ["launch", "bootstrap"])
@virtually
async def test_a_machine_that_is_being_bought_meanwhile_has_it_too(call: str) -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    (node,) = journey.dispatcher.nodes.values()
    cloud.lose(0)
    if call == "launch":  # created at once, and told of late
        cloud.script(call, sky.testing.After(10.0))
    else:
        cloud.script(call, 10.0)
    replacing = asyncio.ensure_future(journey.road.replace(node, lambda: None))
    await asyncio.sleep(5)
    assert len(cloud.alive) == 1
    await journey.road.extend(after(cloud, 7195))
    await replacing
    await asyncio.sleep(1)
    assert told(cloud) == [(7200, 7200)]
    await journey.road.destroy()


@virtually
async def test_a_machine_that_is_bought_after_a_failed_extension_has_the_deadline_of_the_others() -> None:
    one = FakeProvider("One")
    journey = Journey(one, timeout=3600)
    await journey.road.provision()
    (node,) = journey.dispatcher.nodes.values()
    one.script("extend", *[sky.testing.After(Transient("lost"))] * 20)  # it holds for what comes, and nobody knows
    with pytest.raises(ProvisioningError):
        await journey.road.extend(after(one, 7200))
    one.script["extend"] = []
    one.lose(0)
    await journey.road.replace(node, lambda: None)
    await asyncio.sleep(1)
    assert told(one) == [(3600, 3600)]
    await journey.road.destroy()


@virtually
async def test_what_was_said_on_a_connection_that_broke_is_said_again() -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    cloud.script("transport.open", 5.0)
    body: Any = cloud._backend.records["i-0"].body
    (control,) = (link for link in body._links if link.name == "control")
    body._links.remove(control)
    control.lose("cut")
    await asyncio.sleep(1)
    await journey.road.extend(after(cloud, 7200 - cloud.clock.monotonic()))
    await asyncio.sleep(1)
    assert told(cloud) == [(7200, 3600)]
    await asyncio.sleep(10)
    assert told(cloud) == [(7200, 7200)]
    await journey.road.destroy()


@virtually
async def test_a_pool_that_ends_waits_for_no_extension() -> None:
    cloud = FakeProvider(script={"extend": [Hang] * 9})
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    moving = asyncio.ensure_future(journey.road.extend(after(cloud, 7200)))
    await asyncio.sleep(0)
    await journey.road.destroy()
    assert asyncio.get_running_loop().time() < 20
    with pytest.raises(sky.UsageError, match=r"this pool is ending"):
        await moving
    with pytest.raises(sky.UsageError, match=r"this pool has ended"):
        await journey.road.extend(after(cloud, 7200))


@virtually
async def test_an_extended_pool_is_not_reaped_from_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, timeout=3600)
    await journey.road.provision()
    await journey.road.extend(after(cloud, 7200))
    monkeypatch.setattr("skyward._client._place", lambda: "elsewhere")
    monkeypatch.setenv("XDG_STATE_HOME", "/nowhere")
    await asyncio.sleep(3600 + 120)
    assert (await _reap.find([cloud.provider])).orphans == ()
    cloud._backend.retag(["i-0"], after(cloud, -120))
    assert [each.why for each in (await _reap.find([cloud.provider])).orphans] == ["its deadline has passed"]
    await journey.road.destroy()


# as users call it


@pytest.fixture
def cloud() -> Any:
    with FakeCloud() as made:
        yield made


def test_a_pool_may_be_extended_by_a_callback(cloud: FakeCloud) -> None:
    done = threading.Event()
    with sky.ComputePool(cloud.provider, display="quiet", timeout=3600) as pool:

        @pool.on(sky.TimeoutApproaching)
        def longer(_: sky.TimeoutApproaching) -> None:
            pool.extend(3600)
            done.set()

        cloud.clock.advance(3400)
        assert done.wait(60)
        assert cloud.called("extend") == [(["i-0"], cloud.clock.time() + 3600)]


def test_in_an_event_loop_the_awaitable_form_is_named_and_works(cloud: FakeCloud) -> None:
    async def main() -> None:
        async with sky.ComputePool(cloud.provider, display="quiet", timeout=3600) as pool:
            with pytest.raises(sky.UsageError, match=r"write `await asyncio\.to_thread\(pool\.extend, 60\)`"):
                pool.extend(60)
            await asyncio.to_thread(pool.extend, 60)
        assert len(cloud.called("extend")) == 1

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [0, -5, float("nan"), float("inf"), "60", None, True])
def test_what_is_no_time_to_live_is_refused(cloud: FakeCloud, seconds: Any) -> None:
    with (
        sky.ComputePool(cloud.provider, display="quiet") as pool,
        pytest.raises(sky.ConfigurationError, match=r"seconds must be more than 0, not .*: leave the block"),
    ):
        pool.extend(seconds)
    assert cloud.called("extend") == []
