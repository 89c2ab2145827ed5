"""A pool's ``budget``: the machines end themselves while there is money left, whatever becomes of the client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from attrs import evolve
from interrupting import Interruptor, Way
from road_fakes import After, ClientDied, FakeProvider, Journey, VirtualLoop, on_demand, run, spot, virtually

import skyward as sky
from skyward._spending import ENDING
from skyward.errors import (
    ConfigurationError,
    NoAvailableProviderError,
    Transient,
    Unavailable,
)
from skyward.testing import FakeCloud, VirtualClock

pytestmark = pytest.mark.usefixtures("own_ledgers")


def lives(*clouds: FakeCloud) -> list[float | None]:
    """Of each machine that is alive, the seconds of the clock at which it ends itself."""
    epoch = clouds[0].clock.time() - clouds[0].clock.monotonic()
    alive = [machine for cloud in clouds for machine in cloud.alive]
    return [None if machine.deadline is None else round(machine.deadline - epoch, 1) for machine in alive]


def about(seconds: float) -> Any:
    return pytest.approx(seconds, rel=0, abs=3)


async def until_all_have_ended(*clouds: FakeCloud) -> None:
    while any(cloud.alive for cloud in clouds):  # noqa: ASYNC110  a cloud tells nobody
        await asyncio.sleep(60)


def bill(*clouds: FakeCloud) -> float:
    return sum(cloud.bill() for cloud in clouds)


@virtually
async def test_machines_are_launched_with_the_moment_up_to_which_the_money_lasts() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0)])
    journey = Journey(cloud, nodes=2, budget=1.0, timeout=3600, lease=None)
    await journey.road.provision()
    assert lives(cloud) == [about(1800 - ENDING)] * 2
    assert (journey.road.limit, cloud.called("extend")[0][0]) == ("budget", []), "told before the launch"
    assert cloud._backend.calls.index(("extend", cloud.called("extend")[0])) < next(
        place for place, (method, _) in enumerate(cloud.calls) if method == "launch"
    )
    await until_all_have_ended(cloud)
    assert 0.95 < bill(cloud) <= 1.0
    await journey.road.destroy()
    assert journey.cost.final().total_cost <= 1.0 + 2 * 60 / 3600, "noticed with the look of this test, a minute late"


@virtually
async def test_the_timeout_holds_where_it_comes_first() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0)])
    journey = Journey(cloud, budget=10.0, timeout=600)
    await journey.road.provision()
    assert (lives(cloud), journey.road.limit) == ([600], "timeout")
    assert cloud.called("extend") == []
    await journey.road.destroy()


@virtually
async def test_without_a_timeout_the_budget_ends_them() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0)])
    journey = Journey(cloud, budget=10.0, timeout=None)
    await journey.road.provision()
    assert (lives(cloud), journey.road.limit) == ([about(36000 - ENDING)], "budget")
    await journey.road.destroy()


@virtually
async def test_free_machines_are_not_limited() -> None:
    cloud = FakeProvider(offers=[on_demand(price=0.0)])
    journey = Journey(cloud, budget=0.01, max_hourly_cost=0.01, timeout=None)
    await journey.road.provision()
    assert lives(cloud) == [None]
    await journey.road.destroy()


@virtually
async def test_dearer_machines_in_the_place_of_cheap_ones_make_the_pool_shorter_for_all() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25, capacity=2), on_demand(price=1.0)])
    journey = Journey(cloud, nodes=4, budget=5.0, timeout=None, lease=None)
    await journey.road.provision()
    assert lives(cloud) == [about(2 * 3600 - ENDING)] * 4, "$0.50 and $2.00 an hour"
    await until_all_have_ended(cloud)
    assert 4.9 < bill(cloud) <= 5.0
    await journey.road.destroy()


@virtually
async def test_two_providers_share_the_money() -> None:
    one = FakeProvider("One", [on_demand("One", price=1.0, capacity=1)])
    other = FakeProvider("Other", [on_demand("Other", price=3.0, billing_quantum=3600)])
    journey = Journey(one, other, nodes=2, budget=8.0, timeout=None, lease=None)
    await journey.road.provision()
    assert lives(one, other) == [about(2 * 3600 - ENDING)] * 2
    await until_all_have_ended(one, other)
    assert 7.9 < bill(one, other) <= 8.0
    await journey.road.destroy()


@virtually
async def test_replaced_machines_are_paid_from_the_same_money() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0, billing_quantum=3600)])
    journey = Journey(cloud, nodes=2, budget=5.0, timeout=None, lease=None)
    await journey.road.provision()
    assert lives(cloud) == [about(2 * 3600 - ENDING)] * 2
    await asyncio.sleep(600)
    node = journey.dispatcher.nodes[0]
    cloud.lose(0)
    await journey.road.replace(node, lambda: None)
    # One hour of the lost one is paid; what is left pays two hours of each of the others.
    assert lives(cloud) == [about(2 * 3600 - ENDING)] * 2
    node = journey.dispatcher.nodes[1]
    cloud.lose(1)
    await journey.road.replace(node, lambda: None)
    # Three are paid or begun: there is money for one hour each of two machines, and the others' first is running.
    assert lives(cloud)[0] == about(3600 + 600 - ENDING)
    await until_all_have_ended(cloud)
    assert bill(cloud) <= 5.0
    await journey.road.destroy()


@virtually
async def test_a_machine_is_not_replaced_once_the_money_does_not_pay_for_it() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0, billing_quantum=3600)])
    journey = Journey(cloud, nodes=2, budget=2.5, timeout=None, lease=None)
    await journey.road.provision()
    node = journey.dispatcher.nodes[0]
    cloud.lose(0)
    with pytest.raises(NoAvailableProviderError, match=r"budget=2\.5 does not pay for 60 s of the pool; raise budget"):
        await journey.road.replace(node, lambda: None)
    assert len(cloud.alive) == 1
    await until_all_have_ended(cloud)
    assert bill(cloud) <= 2.5
    await journey.road.destroy()


@virtually
async def test_extending_ends_at_the_budget_and_says_so() -> None:
    cloud = FakeProvider(offers=[on_demand(price=1.0)])
    journey = Journey(cloud, budget=2.0, timeout=600)
    await journey.road.provision()
    await journey.road.extend(cloud.clock.time() + 3600)
    await asyncio.sleep(1)
    assert (lives(cloud), journey.road.limit) == ([about(3600)], "timeout")
    with pytest.raises(
        ConfigurationError, match=r"budget=2 pays for these machines until [0-9:]+, 71\d\d s from now, "
    ):
        await journey.road.extend(cloud.clock.time() + 7200)
    assert lives(cloud) == [about(3600)]
    await journey.road.destroy()


@virtually
async def test_what_the_money_cannot_pay_for_is_refused_before_anything_is_bought() -> None:
    cloud = FakeProvider(offers=[on_demand(price=3.0), on_demand(kind="big", price=9.0)])
    journey = Journey(cloud, nodes=2, budget=0.05)
    with pytest.raises(
        NoAvailableProviderError,
        match=r"the cheapest that was refused is Fake small \(on-demand, here-1\), since at \$3\.00 an hour each, "
        r"budget=0\.05 does not pay for 60 s of the pool, as were 1 dearer one\(s\); raise budget=0\.05",
    ):
        await journey.road.provision()
    assert cloud.machines == []


@virtually
async def test_a_provider_that_cannot_be_told_the_moment_sells_nothing() -> None:
    deaf = FakeProvider("Deaf", [on_demand("Deaf")], script={"extend": [Unavailable("no API today")] * 99})
    sound = FakeProvider("Sound", [on_demand("Sound")])
    journey = Journey(deaf, sound, budget=0.5)
    await journey.road.provision()
    assert (deaf.machines, len(sound.alive)) == ([], 1)
    await journey.road.destroy()


@virtually
async def test_a_machine_that_nobody_told_of_is_paid_for_and_on_the_bill() -> None:
    cloud = FakeProvider(
        offers=[on_demand(price=1.0, billing_quantum=3600)], script={"launch": [After(Transient("reset"))]}
    )
    journey = Journey(cloud, budget=3.5, timeout=None, lease=None)
    await journey.road.provision()
    assert lives(cloud) == [about(2 * 3600 - ENDING)]
    await journey.road.destroy()
    assert journey.cost.final().total_cost == cloud.bill() == 2.0


# the client dies


def scenario() -> list[FakeProvider]:
    """A partial launch, a lost reply, a provider that hangs, and a machine that is replaced."""
    clock = VirtualClock()
    one = FakeProvider(
        "One",
        [spot("One", price=0.5, capacity=1, billing_quantum=60), on_demand("One", price=2.0, capacity=1)],
        boot=3.0,
        script={"launch": [None, After(Transient("lost"))]},
        clock=clock,
    )
    other = FakeProvider(
        "Other", [on_demand("Other", price=4.0, billing_quantum=600, billing_minimum=900)], clock=clock
    )
    return [one, other]


def life(clouds: list[FakeProvider], budget: float, way: Way, at: int) -> int:
    """A client that lives until it is interrupted; the number of its steps."""
    loop = VirtualLoop(clouds[0].clock)
    interruptor = Interruptor(loop, way, at)
    journeys: list[Journey] = []

    async def live() -> None:
        journey = Journey(*clouds, nodes=3, budget=budget, timeout=None, lease=None)
        journeys.append(journey)
        if isinstance(await interruptor.run(journey.road.provision()), BaseException):
            await journey.road.destroy()
            return
        await asyncio.sleep(10)
        node = journey.dispatcher.nodes.get(0)
        if node is not None:
            for cloud in clouds:
                if node.instance.id in {machine.id for machine in cloud.alive if machine.node == 0}:
                    cloud.lose(node.instance.id)
            await interruptor.run(journey.road.replace(node, lambda: None))
        await asyncio.sleep(10)

    with contextlib.suppress(ClientDied):
        run(live(), loop)
    ledger = journeys[0].road._books._ledger
    if ledger is not None:
        ledger._file.close()  # which lets go of the lock, as the end of a process does
    return interruptor.awaits


@pytest.mark.slow
def test_a_client_that_dies_at_any_step_costs_no_more_than_the_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    budget, most = 12.0, 0.0
    total = life(scenario(), budget, "nothing", 0)
    assert total > 100
    for at in range(1, total + 1):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / str(at)))
        clouds = scenario()
        life(clouds, budget, "die", at)
        clouds[0].clock.advance(1_000_000)
        assert not [machine for cloud in clouds for machine in cloud.alive], at
        assert bill(*clouds) <= budget, at
        most = max(most, bill(*clouds))
    assert most > 0.9 * budget, "or it shows little"


# as users call it


@pytest.fixture
def cloud() -> Any:
    with FakeCloud(offers=[on_demand(price=1.0)]) as made:
        yield made


@sky.compute
def forever() -> None:
    threading.Event().wait()


def test_a_call_that_it_cuts_off_fails_with_an_error_that_names_it_and_the_machine_is_ended(cloud: FakeCloud) -> None:
    warned: list[sky.TimeoutApproaching] = []
    with sky.ComputePool(cloud.provider, display="quiet", budget=1.0, timeout=None) as pool:
        pool.on(sky.TimeoutApproaching, warned.append)
        future = pool.submit(forever())
        cloud.clock.advance(3600)
        with pytest.raises(sky.BudgetExhausted, match=r"raise budget=\.\.\. of the pool") as caught:
            future.result(120)
        assert isinstance(caught.value, sky.PoolTimeout)
        with pytest.raises(sky.BudgetExhausted):
            forever() >> pool
    assert cloud.bill() <= 1.0


def test_the_final_bill_of_a_pool_that_stays_open_does_not_grow_after_its_deadline(cloud: FakeCloud) -> None:
    final: list[sky.CostFinal] = []
    with sky.ComputePool(cloud.provider, display="quiet", budget=1.0, timeout=None) as pool:
        pool.on(sky.CostFinal, final.append)
        future = pool.submit(forever())
        cloud.clock.advance(3600 - ENDING + 1)
        assert isinstance(future.exception(120), sky.BudgetExhausted)
        while cloud.open_roads:
            threading.Event().wait(0.01)
        while not cloud.called("terminate"):
            threading.Event().wait(0.01)
        while pool._engine.remaining:
            threading.Event().wait(0.01)
        cloud.clock.advance(100_000)
    assert 0.9 < final[0].total_cost <= 1.0


@pytest.mark.parametrize("name", ["budget", "max_hourly_cost"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True])
def test_what_is_no_amount_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} is .*; give a positive number of US dollars"):
        sky.ComputePool(**{name: value})


def test_executors_and_decorators_take_them() -> None:
    assert sky.Executor(budget=5).pool._pool_options.limits.budget == 5.0

    @sky.pool(max_hourly_cost=3, budget=5)
    def inside() -> None: ...

    with pytest.raises(ConfigurationError, match="budget is 0"):
        sky.pool(budget=0)


# machines whose price depends on where they are found


@virtually
async def test_machines_that_may_turn_out_dear_are_launched_to_end_within_the_budget_at_any_price() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25, highest_price=1.0)])
    launched = _lives_at_launch(cloud)
    journey = Journey(cloud, nodes=2, budget=1.0, timeout=None, lease=None)
    await journey.road.provision()
    assert launched == [[about(1800 - ENDING)] * 2], "$2.00 an hour"
    await until_all_have_ended(cloud)
    assert 0.95 < bill(cloud) <= 1.0
    await journey.road.destroy()


@virtually
async def test_once_machines_turn_out_cheap_they_live_as_long_as_there_is_money() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25, highest_price=1.0)])
    launched = _lives_at_launch(cloud, sold_as=spot(price=0.25))
    journey = Journey(cloud, nodes=2, budget=1.0, timeout=None, lease=None)
    await journey.road.provision()
    assert launched == [[about(1800 - ENDING)] * 2]
    assert lives(cloud) == [about(7200 - ENDING)] * 2
    await journey.road.destroy()


@virtually
async def test_money_that_pays_for_cheap_machines_alone_buys_those_alone() -> None:
    cloud = FakeProvider(offers=[spot(price=0.6, highest_price=60.0)])
    journey = Journey(cloud, budget=0.1, timeout=None)
    await journey.road.provision()
    [request] = cloud.called("launch")
    assert request.max_price == 0.6
    await journey.road.destroy()


def _lives_at_launch(cloud: FakeProvider, **sold_as: Any) -> list[list[float | None]]:
    """Notes `lives` after each launch. ``sold_as`` may have an offer in the place of the one that is asked for."""
    noted: list[list[float | None]] = []
    launch = cloud._backend.launch

    def work(identity: Any, request: Any) -> Any:
        machines = launch(identity, evolve(request, offer=sold_as.get("sold_as", request.offer)))
        noted.append(lives(cloud))
        return machines

    cloud._backend.launch = work  # type: ignore[method-assign]
    return noted
