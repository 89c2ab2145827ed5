"""A pool's ``max_hourly_cost``: what is too dear by the hour is not bought; and what is said before launch."""

from __future__ import annotations

import logging

import pytest
from road_fakes import FakeProvider, Journey, on_demand, spot, virtually

from skyward.errors import AllProvidersFailedError, NoAvailableProviderError, Unavailable

pytestmark = pytest.mark.usefixtures("own_ledgers")


@virtually
async def test_offers_that_cost_too_much_an_hour_are_refused() -> None:
    dear, cheap = FakeProvider("Dear", [on_demand("Dear", price=3.0)]), FakeProvider("Cheap", [on_demand("Cheap")])
    journey = Journey(dear, cheap, nodes=2, max_hourly_cost=2.0)
    await journey.road.provision()
    assert (dear.machines, len(cheap.alive)) == ([], 2)
    await journey.road.destroy()


@virtually
async def test_the_cheapest_that_was_refused_is_named_with_its_price() -> None:
    cloud = FakeProvider(offers=[on_demand(price=3.0), spot(price=0.75)])
    with pytest.raises(
        NoAvailableProviderError,
        match=r"no provider offers 4 node\(s\) for that money .*the cheapest that was refused is Fake small \(spot, "
        r"here-1\), since at \$0\.75 an hour each the pool would cost \$3\.00 an hour, and max_hourly_cost is \$2\.50, "
        r"as were 1 dearer one\(s\); raise max_hourly_cost=2\.5, ask for fewer",
    ):
        await Journey(cloud, nodes=4, max_hourly_cost=2.5).road.provision()
    assert cloud.machines == []


@virtually
async def test_a_pool_of_both_markets_is_limited_as_a_whole() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25), on_demand(price=1.0)])
    journey = Journey(cloud, nodes=10, allocation=0.8, max_hourly_cost=4.0)
    await journey.road.provision()
    assert journey.cost.update().hourly_rate == 4.0
    await journey.road.destroy()


@virtually
async def test_a_fall_back_that_is_too_dear_is_not_bought_and_the_error_says_so() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25), on_demand(price=1.0)])
    cloud.script("launch", *[Unavailable("no spot capacity")] * 9)
    with pytest.raises(
        AllProvidersFailedError,
        match=r"no spot capacity; Fake small \(on-demand, here-1\): refused, since at \$1\.00 an hour each the pool "
        r"would cost \$2\.00 an hour, and max_hourly_cost is \$1\.50",
    ):
        await Journey(cloud, nodes=2, max_hourly_cost=1.5).road.provision()
    assert cloud.machines == []


@virtually
async def test_a_market_that_the_allocation_leaves_out_makes_nothing_cheaper() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25), on_demand(price=1.0)])
    with pytest.raises(NoAvailableProviderError, match=r"the cheapest that was refused is Fake small \(on-demand"):
        await Journey(cloud, nodes=4, allocation="on-demand", max_hourly_cost=2.0).road.provision()
    assert cloud.called("launch") == []


@virtually
async def test_a_replacement_is_held_to_the_hour_as_well() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25), on_demand(price=1.0)])
    journey = Journey(cloud, nodes=2, max_hourly_cost=1.2)
    await journey.road.provision()
    node = journey.dispatcher.nodes[0]
    cloud.lose(0)
    cloud.sell(on_demand(price=1.0))
    with pytest.raises(NoAvailableProviderError, match=r"would cost \$1\.25 an hour"):
        await journey.road.replace(node, lambda: None)
    await journey.road.destroy()


# what is said


@virtually
async def test_before_launch_the_log_says_what_is_bought_where_and_at_what_price(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "skyward")
    cloud = FakeProvider(offers=[spot(price=0.25), on_demand(price=1.0)])
    journey = Journey(cloud, nodes=4, budget=5.0, max_hourly_cost=4)
    await journey.there_and_back()
    assert (
        "buying 4 x small of Fake (spot, here-1) at $0.25 an hour, $1.00 together; where that is not to be had, small "
        "of Fake (on-demand, here-1) at $1.00 an hour (at most $4.00 an hour, at most $5.00 altogether)"
    ) in caplog.messages


# machines whose price depends on where they are found


@virtually
async def test_no_machine_may_cost_more_than_its_part_of_the_limit_wherever_it_is_found() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25, highest_price=0.75)])
    journey = Journey(cloud, nodes=2, max_hourly_cost=1.0)
    await journey.road.provision()
    [request] = cloud.called("launch")
    assert request.max_price == 0.5
    assert journey.cost.update().hourly_rate == 1.0
    await journey.road.destroy()


@virtually
async def test_without_a_limit_machines_are_bought_wherever_they_are_found() -> None:
    cloud = FakeProvider(offers=[spot(price=0.25, highest_price=0.75)])
    journey = Journey(cloud, nodes=2)
    await journey.road.provision()
    [request] = cloud.called("launch")
    assert request.max_price is None
    assert journey.cost.update().hourly_rate == 1.5
    await journey.road.destroy()
