"""The rules of an allocation strategy: core's own keep them, and each is broken by a strategy that the kit catches."""

from __future__ import annotations

import itertools
import random
import socket
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from attrs import evolve, frozen
from conformance_teeth import assert_bites, assert_every_rule_has_a_mutant

from skyward import Allocation
from skyward.model.allocation import AllocationStrategy, Candidate, Tranche
from skyward.model.spec import Market
from skyward.testing.conformance import AllocationConformance

type Candidates = tuple[Candidate, ...]


class TestBothMarkets(AllocationConformance):
    @pytest.fixture(
        params=[
            Allocation.SpotIfAvailable(),
            Allocation.Cheapest(),
            *map(Allocation.Percent, (0, 0.1, 1 / 3, 0.5, 0.8, 1)),
        ],
        ids=repr,
    )
    def allocation(self, request: pytest.FixtureRequest) -> AllocationStrategy:
        strategy: AllocationStrategy = request.param
        return strategy


class TestSpotOnly(AllocationConformance):
    markets = ("spot",)

    @pytest.fixture
    def allocation(self) -> AllocationStrategy:
        return Allocation.AlwaysSpot()


class TestOnDemandOnly(AllocationConformance):
    markets = ("on-demand",)

    @pytest.fixture
    def allocation(self) -> AllocationStrategy:
        return Allocation.OnDemand()


# ---- strategies that break one rule each -----------------------------------------------------------------------------


@frozen
class Honest:
    """Whatever comes first. What breaks a rule is this with one change."""

    name: ClassVar[Any] = "honest"

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes, candidates)]


class Nameless(Honest):
    name = " "


class Unhashable(Honest):
    __hash__ = None  # type: ignore[assignment]


class ByIdentity(Honest):
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 1


class Unpicklable(Honest):
    def __reduce__(self) -> Any:
        raise TypeError("holds a client")


class Pairs(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Any:
        return [(nodes, candidates)]


class Halves(Honest):
    """Loses a machine to rounding."""

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes // 2, candidates), Tranche(nodes // 2, candidates)]


class Atleast(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes + 1, candidates), Tranche(-1, ())]


class Fractions(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Any:
        return [Tranche(nodes / 2, candidates), Tranche(nodes / 2, candidates)]  # type: ignore[arg-type]


class AHundred(Honest):
    """Right as long as nobody asks for many."""

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(min(nodes, 100), candidates)]


class Haggler(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        cheaper = tuple(Candidate(each.provider, evolve(each.offer, price=0.01)) for each in candidates)
        return [Tranche(nodes, cheaper)]


class Reranked(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes, tuple(Candidate(each.provider + 100, each.offer) for each in candidates))]


class Insistent(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes, candidates + candidates)]


class SpotFirst(Honest):
    """Forgets that there may be no spot machines."""

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        spot = tuple(each for each in candidates if each.offer.market == "spot")
        return [Tranche(nodes, spot)] if spot else []


class Priced(Honest):
    """Forgets that a price may be unknown."""

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        known = tuple(each for each in candidates if each.offer.price is not None)
        return [Tranche(nodes, known)] if known else []


class ByChance(Honest):
    source: ClassVar[random.Random] = random.Random(1)

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes, tuple(self.source.sample(candidates, len(candidates))))]


class Taking(Honest):
    calls: ClassVar[Any] = itertools.count()

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        candidates[0].offer.details["taken"] = True  # type: ignore[index]  # the mistake that the rule is about
        return [Tranche(nodes, candidates)]


class Asking(Honest):
    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        with socket.socket():
            return [Tranche(nodes, candidates)]


class FullHouse(Honest):
    """Right in every market of the table, and wrong where capacity is told."""

    def allocate(self, candidates: Candidates, nodes: int, /) -> Sequence[Tranche]:
        known = [each.offer.capacity for each in candidates if each.offer.capacity is not None]
        return [Tranche(min([nodes, *known]), candidates)]


SPOT: tuple[Market, ...] = ("spot",)
BOTH: tuple[Market, ...] = ("spot", "on-demand")

MUTANTS: list[tuple[str, Any, str, tuple[Market, ...]]] = [
    ("test_it_has_a_name", Nameless(), "name is ' '; give it", BOTH),
    ("test_it_is_a_value", Unhashable(), "cannot be hashed .*; make its class a frozen value", BOTH),
    ("test_it_is_a_value", ByIdentity(), "does not equal its own copy .*; compare by value", BOTH),
    ("test_it_is_a_value", Unpicklable(), "does not pickle .TypeError: holds a client.; keep plain values", BOTH),
    ("test_it_returns_tranches", Pairs(), "; return a list of Tranche", BOTH),
    ("test_its_tranches_make_the_number_of_nodes", Halves(), r"for 3 node\(s\) have 1 \+ 1 nodes; make them 3", BOTH),
    ("test_its_tranches_make_the_number_of_nodes", Atleast(), r"\[3, -1\] nodes; give whole numbers", BOTH),
    ("test_its_tranches_make_the_number_of_nodes", Fractions(), r"\[1.0, 1.0\] nodes; give whole numbers", BOTH),
    ("test_one_node_is_not_lost_in_rounding", Halves(), r"for 1 node\(s\) have 0 \+ 0 nodes", BOTH),
    ("test_many_nodes_are_divided_exactly", AHundred(), r"for 997 node\(s\) have 100 nodes", BOTH),
    ("test_its_candidates_are_among_the_given", Haggler(), "was not among the candidates; choose from", BOTH),
    ("test_its_candidates_are_among_the_given", Reranked(), "with their provider's rank", BOTH),
    ("test_no_candidate_is_tried_twice_for_the_same_machines", Insistent(), "names a candidate twice; name each", BOTH),
    ("test_it_serves_where_only_one_market_is_offered", SpotFirst(), r"for 5 node\(s\) have no nodes", BOTH),
    ("test_it_serves_with_unknown_prices", Priced(), r"for 3 node\(s\) have no nodes", BOTH),
    (
        "test_it_buys_from_no_market_that_it_leaves_out",
        Honest(),
        "candidates of on-demand, and .*; leave them out",
        SPOT,
    ),
    ("test_it_gives_the_same_answer_to_the_same_question", ByChance(), "divided differently .*; decide by", BOTH),
    ("test_it_leaves_its_arguments_as_they_are", Taking(), "changed its arguments; build new values", BOTH),
    ("test_it_decides_without_network_processes_or_waiting", Asking(), "opens a socket; decide by the offers", BOTH),
    ("test_any_market_will_do", FullHouse(), "nodes; make them", BOTH),
]


@pytest.mark.parametrize(("test", "strategy", "says", "markets"), MUTANTS)
def test_a_strategy_that_breaks_the_rule_is_caught(
    test: str, strategy: AllocationStrategy, says: str, markets: tuple[Market, ...]
) -> None:
    kit = AllocationConformance()
    kit.markets = markets
    assert_bites(kit, test, strategy, says)


def test_every_rule_has_a_strategy_that_breaks_it() -> None:
    assert_every_rule_has_a_mutant(AllocationConformance, [test for test, *_ in MUTANTS])


def test_the_table_alone_lets_the_last_mutant_through() -> None:
    """So the markets at random find what a table of a few does not."""
    kit = AllocationConformance()
    for test in ("test_its_tranches_make_the_number_of_nodes", "test_many_nodes_are_divided_exactly"):
        getattr(kit, test)(FullHouse())


def test_the_markets_at_random_need_no_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    AllocationConformance().test_any_market_will_do(Allocation.Percent(0.5))
    assert_bites(AllocationConformance(), "test_any_market_will_do", FullHouse(), "nodes; make them")
