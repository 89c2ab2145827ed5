"""Offers become orders: every node is bought once, in the order of preference, and only where it is allowed."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward import Allocation, ConfigurationError, select_available, select_cheapest, select_first
from skyward._handles import ProviderHandle
from skyward._selection import Candidate, fits, plan, rank_providers, wanted
from skyward.model.accelerator import Accelerator
from skyward.model.allocation import Percent, parse_allocation
from skyward.model.image import Image
from skyward.model.nearest import did_you_mean, near_matches
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec

prices = st.none() | st.floats(0, 100, allow_nan=False)
offers = st.builds(
    Offer,
    provider=st.just("P"),
    instance_type=st.sampled_from(["small", "large"]),
    region=st.just("here"),
    market=st.sampled_from(["spot", "on-demand"]),
    price=prices,
)
stalls = st.lists(st.lists(offers, max_size=4), min_size=1, max_size=4)
allocations = st.sampled_from(["spot-if-available", "spot", "on-demand", "cheapest"]) | st.floats(0, 1)


def spec(**wishes: Any) -> ComputeSpec:
    return ComputeSpec(nodes=1, image=Image(), **wishes)


def offer(**facts: Any) -> Offer:
    return Offer(**{"provider": "P", "instance_type": "small", "region": "here", **facts})


# plans


@given(stalls, allocations, st.lists(st.integers(0, 99), min_size=1, max_size=30, unique=True))
def test_every_node_is_in_exactly_one_order(sold: list[list[Offer]], value: Any, nodes: list[int]) -> None:
    orders = plan(sold, range(len(sold)), parse_allocation(value), nodes)
    assert [node for order in orders for node in order.nodes] == nodes
    assert all(order.nodes for order in orders)


@given(stalls, allocations, st.integers(1, 30), st.randoms())
def test_providers_come_in_their_ranking_and_offers_of_each_as_the_allocation_wants(
    sold: list[list[Offer]], value: Any, count: int, random: Any
) -> None:
    ranking = list(range(len(sold)))
    random.shuffle(ranking)
    allocation = parse_allocation(value)
    for order in plan(sold, ranking, allocation, range(count)):
        for candidate in order.offers:
            assert candidate.offer in sold[candidate.seller]
        if not isinstance(allocation, Percent):
            assert list(order.offers) == [
                Candidate(index, each) for index in ranking for each in wanted(sold[index], allocation)
            ]


@given(st.floats(0, 1), st.integers(1, 1000))
def test_a_share_of_spot_is_met_and_by_no_machine_more_than_needed(share: float, count: int) -> None:
    orders = plan([[offer(market="spot"), offer()]], [0], Percent(share), range(count))
    spot = sum(len(order.nodes) for order in orders if order.offers[0].offer.market == "spot")
    assert spot / count >= share - 1e-9
    assert (spot - 1) / count < share or spot == 0


@pytest.mark.parametrize("tenths", range(11))
@pytest.mark.parametrize("count", [10, 30, 70])
def test_round_shares_of_round_counts_are_exact(tenths: int, count: int) -> None:
    orders = plan([[offer(market="spot"), offer()]], [0], Percent(tenths / 10), range(count))
    spot = sum(len(order.nodes) for order in orders if order.offers[0].offer.market == "spot")
    assert spot == Fraction(tenths, 10) * count


def test_the_rest_beside_a_share_of_spot_may_be_spot_too_but_never_the_other_way_round() -> None:
    only_spot, only_on_demand = [[offer(market="spot")]], [[offer()]]
    assert all(order.offers for order in plan(only_spot, [0], Percent(0.5), range(4)))
    assert [bool(order.offers) for order in plan(only_on_demand, [0], Percent(0.5), range(4))] == [False, True]
    assert [bool(order.offers) for order in plan(only_spot, [0], Percent(0), range(4))] == [False]


@given(st.lists(offers, max_size=8))
def test_cheapest_goes_by_price_whatever_the_market(sold: list[Offer]) -> None:
    (order,) = plan([sold], [0], Allocation.Cheapest(), [0])
    paid = [math.inf if each.offer.price is None else each.offer.price for each in order.offers]
    assert paid == sorted(paid)
    assert len(order.offers) == len(sold)


# ranking


@given(stalls, st.sampled_from(["first", "available", "cheapest"]), allocations)
def test_a_ranking_names_every_provider_once(sold: list[list[Offer]], selection: str, value: Any) -> None:
    assert sorted(rank_providers(sold, selection, parse_allocation(value))) == list(range(len(sold)))


def test_only_offers_that_the_allocation_admits_count_in_a_ranking() -> None:
    sold = [
        [offer(market="spot", price=0.1), offer(price=9.0)],
        [offer(market="spot", price=0.2), offer(price=2.0)],
        [],
    ]
    assert rank_providers(sold, "cheapest", Allocation.OnDemand()) == [1, 0, 2]
    assert rank_providers(sold, "cheapest", Allocation.AlwaysSpot()) == [0, 1, 2]
    assert rank_providers([[offer()], [offer(market="spot")]], "available", Allocation.AlwaysSpot()) == [1, 0]
    assert rank_providers([[offer(price=None)], [offer(price=50.0)]], "cheapest", Allocation.OnDemand()) == [1, 0]
    assert rank_providers(sold, "first", Allocation.OnDemand()) == [0, 1, 2]


# fitting


@pytest.mark.parametrize(
    ("facts", "wishes", "fit"),
    [
        ({}, {}, True),
        ({"vcpu": 4}, {"cpu": 4}, True),
        ({"vcpu": 3}, {"cpu": 4}, False),
        ({"vcpu": 0}, {"cpu": 4}, True),  # the provider does not say
        ({"memory_gb": 31.9}, {"memory_gb": 32}, False),
        ({"memory_gb": 64}, {"memory_gb": 32}, True),
        ({"instance_type": "p5"}, {"machine": "p5"}, True),
        ({"instance_type": "p4"}, {"machine": "p5"}, False),
        ({}, {"accelerator": Accelerator("T4")}, False),
        ({"accelerator": Accelerator("T4")}, {"accelerator": Accelerator("T4")}, True),
        ({"accelerator": Accelerator("T4", 4)}, {"accelerator": Accelerator("T4", 2)}, True),
        ({"accelerator": Accelerator("T4", 1)}, {"accelerator": Accelerator("T4", 2)}, False),
        ({"accelerator": Accelerator("L4")}, {"accelerator": Accelerator("T4")}, False),
        ({"accelerator": Accelerator("A100", memory="40GB")}, {"accelerator": Accelerator("A100")}, False),
        ({"accelerator": Accelerator("T4")}, {}, True),
    ],
)
def test_an_offer_fits_when_it_has_at_least_what_is_asked_for(facts: Any, wishes: Any, fit: bool) -> None:
    assert fits(offer(**facts), spec(**wishes)) == fit


# allocations


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("spot-if-available", "spot-if-available"),
        ("spot", "spot"),
        ("always-spot", "spot"),
        ("on-demand", "on-demand"),
        ("cheapest", "cheapest"),
        (0.8, "percent"),
        (1, "percent"),
        (Allocation.OnDemand, "on-demand"),
        (Allocation.OnDemand(), "on-demand"),
        (Allocation.SpotIfAvailable, "spot-if-available"),
        (Allocation.Percent(spot=0.3), "percent"),
    ],
)
def test_every_way_of_writing_an_allocation_is_understood_and_pickles(value: Any, name: str) -> None:
    allocation = parse_allocation(value)
    assert allocation.name == name
    assert parse_allocation(allocation) is allocation
    assert pickle.loads(pickle.dumps(allocation)) == allocation
    assert hash(allocation) == hash(parse_allocation(value))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("spott", "did you mean 'spot'"),
        ("On-Demand", "did you mean 'on-demand'"),
        ("zzz", "choose from always-spot, cheapest, on-demand, spot, spot-if-available"),
        (1.2, "from 0 to 1"),
        (-0.1, "from 0 to 1"),
        (80, "from 0 to 1"),
        (math.nan, "from 0 to 1"),
        (True, "or a share of spot such as 0.8"),
        (None, "or a share of spot such as 0.8"),
        (Allocation.Percent, "or a share of spot such as 0.8"),
    ],
)
def test_what_is_no_allocation_is_refused_with_what_would_be_one(value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_allocation(value)
    assert said in str(caught.value)


# handles


def test_a_handle_shows_what_its_provider_offers_and_asks_nobody() -> None:
    sold = [
        offer(instance_type="a", vcpu=4, memory_gb=16, price=1.0),
        offer(instance_type="a", vcpu=4, memory_gb=16, price=0.4, market="spot", on_demand_price=1.1),
        offer(instance_type="a", vcpu=4, memory_gb=16, price=0.3, market="spot", region="there"),
        offer(instance_type="b", vcpu=8, memory_gb=32, price=None),
        offer(instance_type="unknown", vcpu=0, memory_gb=0),
    ]
    handle = ProviderHandle("Acme", sold)
    a, b = handle.available_instances()
    assert (a.name, a.vcpu, a.memory_gb, a.price_on_demand, a.price_spot) == ("a", 4, 16, 1.0, 0.3)
    assert (b.name, b.price_on_demand, b.price_spot) == ("b", None, None)
    assert [each.instance_type for each in handle.offers(spec(cpu=8))] == ["b", "unknown"]
    assert handle.has_spot_capacity(spec(cpu=4))
    assert not handle.has_spot_capacity(spec(cpu=8, machine="b"))
    assert not ProviderHandle("Full", [offer(market="spot", capacity=0)]).has_spot_capacity(spec())
    assert repr(handle) == "<provider Acme with 5 offers>"


def test_the_selectors_choose_as_their_names_say() -> None:
    none = ProviderHandle("none", [])
    dear = ProviderHandle("dear", [offer(price=3.0)])
    cheap = ProviderHandle("cheap", [offer(price=None), offer(price=2.0)])
    unknown = ProviderHandle("unknown", [offer(price=None)])
    everyone = (none, unknown, dear, cheap)
    assert select_first(everyone, spec()) is none
    assert select_available(everyone, spec()) is unknown
    assert select_available((none,), spec()) is none
    assert select_cheapest(everyone, spec()) is cheap


# near matches


def test_near_matches_do_not_go_by_case_and_are_three_at_most() -> None:
    known = ["AWS", "spot", "SPOT", "pool", "spots", "spoty"]
    assert near_matches("aws", known) == ["AWS"]
    assert set(near_matches("Spot", known)[:2]) == {"spot", "SPOT"}
    assert len(near_matches("spot", known)) == 3
    assert did_you_mean("awz", known) == ": did you mean 'AWS'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; choose from a, b"
    assert did_you_mean("zzz", []) == ""


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=10), max_size=8))
def test_near_matches_are_always_known_names(name: str, known: list[str]) -> None:
    assert set(near_matches(name, known)) <= set(known)
