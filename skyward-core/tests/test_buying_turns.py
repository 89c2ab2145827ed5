"""What a pool turns to when something is not to be had, one offer after the other; and what it says of that."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from attrs import evolve
from road_fakes import FakeProvider, Journey, on_demand, spot, virtually

import skyward as sky
from skyward.errors import AllProvidersFailedError, NoAvailableProviderError, QuotaExceeded, Unavailable
from skyward.model.offer import Offer

pytestmark = pytest.mark.usefixtures("own_ledgers")


def in_region(offer: Offer, region: str) -> Offer:
    return evolve(offer, region=region)


def two_clouds() -> tuple[FakeProvider, FakeProvider]:
    """One sells two types, of which one stands in two regions; the other one sells something else."""
    one = FakeProvider(
        "One",
        [
            on_demand("One", "small", price=1.0),
            in_region(on_demand("One", "small", price=1.1), "here-2"),
            on_demand("One", "large", price=2.0),
        ],
    )
    return one, FakeProvider("Other", [on_demand("Other", "tiny", price=3.0)])


def refusals() -> list[Exception]:
    return [
        Unavailable("no capacity in here-1"),
        Unavailable("no capacity in here-2"),
        QuotaExceeded("0 large ones", quota="large-ones", url="https://one.example/quotas"),
    ]


@virtually
async def test_the_next_place_then_the_next_type_then_the_next_provider(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "skyward")
    one, other = two_clouds()
    one.script("launch", *refusals())
    journey = Journey(one, other, allocation="on-demand")
    await journey.road.provision()
    tried = [(e.provider, e.instance_type, e.region) for e in journey.events if isinstance(e, sky.InstanceLaunching)]
    assert tried == [
        ("One", "small", "here-1"),
        ("One", "small", "here-2"),
        ("One", "large", "here-1"),
        ("Other", "tiny", "here-1"),
    ]
    assert [cloud.name for cloud in (one, other) if cloud.alive] == ["Other"]
    assert "no machine from One small (on-demand, here-2): no capacity in here-2" in caplog.messages
    await journey.road.destroy()


@virtually
async def test_the_error_lists_every_offer_that_was_tried_and_why_it_failed() -> None:
    one, other = two_clouds()
    one.script("launch", *refusals())
    other.script("launch", Unavailable("closed"))
    with pytest.raises(AllProvidersFailedError) as caught:
        await Journey(one, other, allocation="on-demand").road.provision()
    assert str(caught.value) == (
        "1 of 1 machine(s) could not be had: One small (on-demand, here-1): no capacity in here-1; One small "
        "(on-demand, here-2): no capacity in here-2; One large (on-demand, here-1): over quota (large-ones): 0 large "
        "ones; have it raised at https://one.example/quotas; Other tiny (on-demand, here-1): closed; try again later, "
        "ask for fewer or for others, or add a provider"
    )


@virtually
async def test_the_log_says_what_will_be_bought_before_anything_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "skyward")
    said: list[list[str]] = []
    cloud = FakeProvider(offers=[spot(price=0.25, on_demand_price=1.0), on_demand(price=1.0)])

    def launch(request: Any) -> object:
        said.append([message for message in caplog.messages if "buying" in message])
        return cloud.sessions[0].create(request)

    cloud.script("launch", launch, launch)
    journey = Journey(cloud, nodes=3, allocation=0.5)
    await journey.road.provision()
    first = "buying 2 x small of Fake (spot, here-1) at $0.25 an hour, $0.50 together"
    second = (
        "also buying 1 x small of Fake (on-demand, here-1) at $1.00 an hour; where that is not to be had, small of "
        "Fake (spot, here-1) at $0.25 an hour"
    )
    assert said == [[first, second]] * 2
    await journey.road.destroy()


@virtually
async def test_what_an_offer_has_too_few_of_is_said_together_with_what_comes_beside_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "skyward")
    scarce = FakeProvider("Scarce", [spot("Scarce", price=0.25, capacity=1), spot("Scarce", "none", capacity=0)])
    plenty = FakeProvider("Plenty", [on_demand("Plenty", price=2.0), on_demand("Plenty", "big", price=4.0)])
    await Journey(scarce, plenty, nodes=3, max_hourly_cost=9).there_and_back()
    assert (
        "buying 1 x small of Scarce (spot, here-1) at $0.25 an hour, and 2 x small of Plenty (on-demand, here-1) at "
        "$2.00 an hour, $4.25 together; where that is not to be had, big of Plenty (on-demand, here-1) at $4.00 an "
        "hour (at most $9.00 an hour)"
    ) in caplog.messages
    caplog.clear()
    with pytest.raises(AllProvidersFailedError, match=r"Scarce none \(spot, here-1\): no capacity"):
        await Journey(scarce, nodes=3).road.provision()
    assert (
        "buying 1 x small of Scarce (spot, here-1) at $0.25 an hour; nobody is known to have the other 2"
    ) in caplog.messages


@virtually
async def test_nothing_is_bought_where_what_the_cheap_offers_lack_would_be_too_dear() -> None:
    one, other = two_clouds()
    one.sell(on_demand("One", price=1.0, capacity=1))
    with pytest.raises(NoAvailableProviderError) as caught:
        await Journey(one, other, nodes=3, allocation="on-demand", max_hourly_cost=6.5).road.provision()
    assert "One small (on-demand, here-1), since at $1.00 an hour each the pool would cost $7.00 an hour" in str(
        caught.value
    )
    assert (one.machines, other.machines) == ([], [])
    journey = Journey(one, other, nodes=3, allocation="on-demand", max_hourly_cost=7)
    await journey.road.provision()
    assert journey.cost.update().hourly_rate == 7.0
    await journey.road.destroy()
