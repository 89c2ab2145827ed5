"""Offers become orders: every node is bought once, in the order of preference, and only where it is allowed."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward import Allocation, ConfigurationError, PluginError, select_available, select_cheapest, select_first
from skyward._choice import Choice
from skyward._handles import SELECTORS, ProviderHandle
from skyward._selection import Bid, Order, fits, plan, rank, wanted
from skyward.model.accelerator import Accelerator
from skyward.model.allocation import Candidate, Percent, Tranche, parse_allocation
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


def choice(value: Any) -> Choice[Any]:
    """The allocation that a user's value means."""
    return Choice(parse_allocation(value))


def handles(sold: list[list[Offer]], allocation: Any) -> list[ProviderHandle]:
    """What a selector is shown."""
    return [ProviderHandle(str(index), wanted(each, choice(allocation), 1)) for index, each in enumerate(sold)]


def named(selection: str) -> Choice[Any]:
    return Choice(SELECTORS[selection], selection)


def spec(**wishes: Any) -> ComputeSpec:
    return ComputeSpec(nodes=1, image=Image(), **wishes)


def offer(**facts: Any) -> Offer:
    return Offer(**{"provider": "P", "instance_type": "small", "region": "here", **facts})


# plans


@given(stalls, allocations, st.lists(st.integers(0, 99), min_size=1, max_size=30, unique=True))
def test_every_node_is_in_exactly_one_order(sold: list[list[Offer]], value: Any, nodes: list[int]) -> None:
    orders = plan(sold, range(len(sold)), choice(value), nodes)
    assert [node for order in orders for node in order.nodes] == nodes
    assert all(order.nodes for order in orders)


@given(stalls, allocations, st.integers(1, 30), st.randoms())
def test_providers_come_in_their_ranking_and_offers_of_each_as_the_allocation_wants(
    sold: list[list[Offer]], value: Any, count: int, random: Any
) -> None:
    ranking = list(range(len(sold)))
    random.shuffle(ranking)
    allocation = choice(value)
    for order in plan(sold, ranking, allocation, range(count)):
        for bid in order.offers:
            assert bid.offer in sold[bid.seller]
        if not isinstance(allocation.value, Percent):
            assert list(order.offers) == [
                Bid(index, each) for index in ranking for each in wanted(sold[index], allocation, count)
            ]


@given(st.floats(0, 1), st.integers(1, 1000))
def test_a_share_of_spot_is_met_and_by_no_machine_more_than_needed(share: float, count: int) -> None:
    orders = plan([[offer(market="spot"), offer()]], [0], choice(Percent(share)), range(count))
    spot = sum(len(order.nodes) for order in orders if order.offers[0].offer.market == "spot")
    assert spot / count >= share - 1e-9
    assert (spot - 1) / count < share or spot == 0


@pytest.mark.parametrize("tenths", range(11))
@pytest.mark.parametrize("count", [10, 30, 70])
def test_round_shares_of_round_counts_are_exact(tenths: int, count: int) -> None:
    orders = plan([[offer(market="spot"), offer()]], [0], choice(Percent(tenths / 10)), range(count))
    spot = sum(len(order.nodes) for order in orders if order.offers[0].offer.market == "spot")
    assert spot == Fraction(tenths, 10) * count


def test_the_rest_beside_a_share_of_spot_may_be_spot_too_but_never_the_other_way_round() -> None:
    only_spot, only_on_demand = [[offer(market="spot")]], [[offer()]]
    assert all(order.offers for order in plan(only_spot, [0], choice(Percent(0.5)), range(4)))
    assert [bool(order.offers) for order in plan(only_on_demand, [0], choice(Percent(0.5)), range(4))] == [False, True]
    assert [bool(order.offers) for order in plan(only_spot, [0], choice(Percent(0)), range(4))] == [False]


@given(st.lists(offers, max_size=8))
def test_cheapest_goes_by_price_whatever_the_market(sold: list[Offer]) -> None:
    (order,) = plan([sold], [0], choice(Allocation.Cheapest()), [0])
    paid = [math.inf if each.offer.price is None else each.offer.price for each in order.offers]
    assert paid == sorted(paid)
    assert len(order.offers) == len(sold)


# ranking


@given(stalls, st.sampled_from(["first", "available", "cheapest"]), allocations)
def test_a_ranking_names_every_provider_once(sold: list[list[Offer]], selection: str, value: Any) -> None:
    ranking = rank(handles(sold, value), named(selection), spec())
    assert sorted(ranking) == list(range(len(sold)))
    if selection == "first":
        assert ranking == list(range(len(sold)))


@given(stalls, allocations)
def test_cheapest_ranks_all_providers_by_their_lowest_price_and_available_those_with_offers_first(
    sold: list[list[Offer]], value: Any
) -> None:
    shown = handles(sold, value)

    def lowest(index: int) -> float:
        return min((each.price for each in shown[index].offers(spec()) if each.price is not None), default=math.inf)

    by_price = sorted(range(len(sold)), key=lowest)
    assert rank(shown, named("cheapest"), spec()) == by_price
    by_having = sorted(range(len(sold)), key=lambda index: not shown[index].offers(spec()))
    assert rank(shown, named("available"), spec()) == by_having


def test_only_offers_that_the_allocation_admits_count_in_a_ranking() -> None:
    sold = [
        [offer(market="spot", price=0.1), offer(price=9.0)],
        [offer(market="spot", price=0.2), offer(price=2.0)],
        [],
    ]

    def ranking(sold: list[list[Offer]], selection: str, allocation: Any) -> list[int]:
        return rank(handles(sold, allocation), named(selection), spec())

    assert ranking(sold, "cheapest", "on-demand") == [1, 0, 2]
    assert ranking(sold, "cheapest", "spot") == [0, 1, 2]
    assert ranking(sold, "cheapest", 0) == [1, 0, 2]
    assert ranking([[offer()], [offer(market="spot")]], "available", "spot") == [1, 0]
    assert ranking([[offer(price=None)], [offer(price=50.0)]], "cheapest", "on-demand") == [1, 0]
    assert ranking(sold, "first", "on-demand") == [0, 1, 2]


def test_what_is_sold_out_counts_neither_as_available_nor_as_cheap() -> None:
    sold = [[offer(price=0.1, capacity=0)], [offer(price=5.0)]]
    for selection in ("available", "cheapest"):
        assert rank(handles(sold, "cheapest"), named(selection), spec()) == [1, 0]


def test_a_selector_with_a_name_is_asked_again_for_the_rest_and_a_users_own_callable_once() -> None:
    shown = handles([[], [], [], []], "cheapest")
    asked: list[tuple[Any, ...]] = []

    def last(providers: tuple[Any, ...], _: ComputeSpec) -> Any:
        asked.append(providers)
        return providers[-1]

    assert rank(shown, Choice(last, "last"), spec()) == [3, 2, 1, 0]
    assert [len(each) for each in asked] == [4, 3, 2]
    asked.clear()
    assert rank(shown, Choice(last), spec()) == [3, 0, 1, 2]
    assert [len(each) for each in asked] == [4]


# strategies of others


class Halves:
    """Half of the machines from the last candidate, the rest from the first."""

    name = "halves"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> list[Tranche]:
        half = nodes // 2
        return [Tranche(half, candidates[-1:]), Tranche(0, candidates), Tranche(nodes - half, candidates[:1])]


def test_a_strategy_of_a_third_party_goes_the_same_road() -> None:
    sold = [[offer(instance_type="a")], [], [offer(instance_type="b"), offer(instance_type="c")]]
    assert plan(sold, [2, 1, 0], choice(Halves()), range(10, 15)) == [
        Order((10, 11), (Bid(0, sold[0][0]),)),
        Order((12, 13, 14), (Bid(2, sold[2][0]),)),
    ]
    assert [each.instance_type for each in wanted(sold[2], choice(Halves()), 2)] == ["c", "b"]
    assert [each.instance_type for each in wanted(sold[2], choice(Halves()), 1)] == ["b"]


def test_a_strategy_is_not_asked_where_nothing_is_offered() -> None:
    class Hungry:
        def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> list[Tranche]:
            return [Tranche(nodes, (candidates[0],))]

    assert plan([[], []], [0, 1], choice(Hungry()), [0, 1]) == [Order((0, 1), ())]
    assert wanted([], choice(Hungry()), 2) == ()


WRONG: list[tuple[Any, str]] = [
    (lambda given, nodes: [Tranche(nodes - 1, given)], "tranches of 2 machine(s) where 3 are needed"),
    (lambda given, nodes: [Tranche(nodes, given)] * 2, "tranches of 6 machine(s) where 3 are needed"),
    (lambda given, nodes: [], "tranches of 0 machine(s) where 3 are needed"),
    (lambda given, nodes: [Tranche(-1, given), Tranche(nodes + 1, given)], "what is no tranche of machines"),
    (lambda given, nodes: [Tranche(nodes + 0.0, given)], "what is no tranche of machines"),
    (lambda given, nodes: [Tranche(nodes, None)], "what is no tranche of machines"),  # type: ignore[arg-type]
    (lambda given, nodes: [Tranche(nodes, (Candidate(0, offer(region="elsewhere")),))], "that it was not given"),
    (lambda given, nodes: [Tranche(nodes, (Candidate(7, given[0].offer),))], "that it was not given"),
    (lambda given, nodes: [(nodes, given)], "what is no sequence of tranches"),
    (lambda given, nodes: Tranche(nodes, given), "what is no sequence of tranches"),
    (lambda given, nodes: None, "what is no sequence of tranches"),
]


@pytest.mark.parametrize(("answer", "said"), WRONG)
def test_an_allocation_that_breaks_the_contract_is_refused(answer: Any, said: str) -> None:
    strategy = SimpleNamespace(name="odd", allocate=answer)
    with pytest.raises(PluginError, match=r"odd failed in allocate with .*; this is a bug of the module") as caught:
        plan([[offer()]], [0], Choice(strategy, "odd"), range(3))
    assert said in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"'odd' returned .*; return tranches that make 3 machine") as own:
        plan([[offer()]], [0], Choice(strategy), range(3))
    assert said in str(own.value)


@given(st.lists(st.tuples(st.integers(-1, 4), st.lists(st.integers(0, 4), max_size=3)), max_size=4), st.integers(1, 6))
def test_whatever_a_strategy_answers_each_node_is_bought_once_from_what_is_offered_or_nothing_is(
    answer: list[tuple[int, list[int]]], count: int
) -> None:
    sold = [[offer(region=str(index)) for index in range(4)]]
    known = [*sold[0], offer(region="foreign")]
    tranches = [Tranche(each, tuple(Candidate(0, known[index]) for index in which)) for each, which in answer]
    strategy = SimpleNamespace(name="any", allocate=lambda given, nodes: tranches)
    sound = all(each >= 0 and 4 not in which for each, which in answer) and sum(each for each, _ in answer) == count
    if not sound:
        with pytest.raises(PluginError):
            plan(sold, [0], Choice(strategy, "any"), range(count))
        return
    orders = plan(sold, [0], Choice(strategy, "any"), range(count))
    assert [node for order in orders for node in order.nodes] == list(range(count))
    assert all(bid.offer in sold[0] for order in orders for bid in order.offers)


def test_an_exception_in_a_plugins_strategy_is_its_bug_and_one_in_the_users_own_arrives_as_itself() -> None:
    def broken(*_: object) -> Any:
        raise LookupError("no idea")

    strategy = SimpleNamespace(name="odd", allocate=broken)
    with pytest.raises(PluginError, match="odd failed in allocate with LookupError: no idea") as caught:
        plan([[offer()]], [0], Choice(strategy, "odd"), [0])
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(LookupError):
        plan([[offer()]], [0], Choice(strategy), [0])
    with pytest.raises(PluginError, match="broken failed in select with LookupError: no idea"):
        rank(handles([[], []], "spot"), Choice(broken, "odd"), spec())
    with pytest.raises(LookupError):
        rank(handles([[], []], "spot"), Choice(broken), spec())
    with pytest.raises(PluginError, match="failed in select with 'AWS'"):
        rank(handles([[], []], "spot"), Choice[Any](lambda *_: "AWS", "odd"), spec())


def test_what_comes_from_an_installed_plugin_is_the_plugins_although_it_was_handed_over_as_an_object() -> None:
    assert Choice(Allocation.Cheapest()).is_foreign  # core is a distribution with a plugin as well
    assert Choice(select_cheapest).is_foreign
    assert not Choice(Halves()).is_foreign


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
        (Halves, "allocation is the class Halves; call it: Halves()"),
        (object(), "or a share of spot such as 0.8"),
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
