"""A provider that tries several offers in one call: it is given the row, answers for all, and says what it took."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from road_fakes import FakeProvider, Journey, on_demand, spot, virtually

from skyward import Image
from skyward._buying import named
from skyward._fleet import _bought_as
from skyward.errors import AllProvidersFailedError, Unavailable
from skyward.spi import Capabilities, ComputeSpec, Instance, InstanceState, LaunchRequest

pytestmark = pytest.mark.usefixtures("own_ledgers")

ROW = Capabilities(spot=True, alternatives=True, default_lease=60)


def asked(provider: FakeProvider) -> list[tuple[str, list[str]]]:
    """Each launch: the offer that it named, and its alternatives."""
    return [
        (order.offer.instance_type, [each.instance_type for each in order.alternatives])
        for order in provider.called("launch")
    ]


def kinds(*names: str) -> list[Any]:
    """Offers of these machines, those with a star on demand."""
    return [evolve(on_demand() if name.startswith("*") else spot(), instance_type=name.lstrip("*")) for name in names]


@virtually
async def test_offers_of_one_market_are_handed_over_together() -> None:
    provider = FakeProvider(offers=kinds("a", "b", "*c", "*d"), capabilities=ROW, script={"launch": [Unavailable("-")]})
    journey = Journey(provider)
    await journey.road.provision()
    assert asked(provider) == [("a", ["b"]), ("c", ["d"])]
    await journey.road.destroy()


@virtually
async def test_without_the_capability_each_offer_is_asked_for_by_itself() -> None:
    provider = FakeProvider(offers=kinds("a", "b"), script={"launch": [Unavailable("-")]})
    journey = Journey(provider)
    await journey.road.provision()
    assert asked(provider) == [("a", []), ("b", [])]
    await journey.road.destroy()


@virtually
async def test_a_refusal_counts_for_the_whole_row_and_says_so() -> None:
    failures = [Unavailable("none of them")] * 3
    provider = FakeProvider(offers=kinds("a", "b", "c"), capabilities=ROW, script={"launch": failures})
    with pytest.raises(AllProvidersFailedError, match=r"Fake a, b or c \(spot, here-1\): none of them"):
        await Journey(provider).road.provision()
    assert asked(provider) == [("a", ["b", "c"])]


@virtually
async def test_each_of_a_row_that_is_too_dear_is_told_with_the_reason() -> None:
    offers = [evolve(offer, price=price) for offer, price in zip(kinds("a", "b"), (0.25, 0.75), strict=True)]
    provider = FakeProvider(offers=offers, capabilities=ROW, script={"launch": [Unavailable("sold out")] * 3})
    with pytest.raises(AllProvidersFailedError) as caught:
        await Journey(provider, nodes=2, max_hourly_cost=1.2).road.provision()
    assert asked(provider) == [("a", [])]
    assert "Fake a (spot, here-1): sold out" in str(caught.value)
    assert "Fake b (spot, here-1): refused, since at $0.75 an hour each" in str(caught.value)


@pytest.mark.parametrize(("count", "said"), [(1, "m0"), (2, "m0 or m1"), (41, "m39 or m40"), (42, "m39 or 2 others")])
def test_a_row_is_named_by_its_types(count: int, said: str) -> None:
    words = named(*kinds(*(f"m{number}" for number in range(count)), "m0"))
    assert words.endswith(f"{said} (spot, here-1)")


def test_a_machine_costs_what_its_session_says_that_it_was_bought_as() -> None:
    first, second, stranger = kinds("a", "b", "z")
    request = LaunchRequest(offer=first, nodes=(0,), spec=ComputeSpec(nodes=1, image=Image()), alternatives=(second,))

    def bought(offer: Any) -> Any:
        return _bought_as(Instance(id="i", state=InstanceState.PENDING, offer=offer), request)

    dearer = evolve(second, price=7.0)
    assert bought(dearer) == dearer  # the price of its zone
    assert bought(None) == first
    assert bought(stranger) == first
