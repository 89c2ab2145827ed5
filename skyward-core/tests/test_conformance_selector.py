"""The rules of a selector: core's own keep them, and each rule is broken by a selector that the kit catches."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conformance_teeth import assert_bites, assert_every_rule_has_a_mutant, rules_of

from skyward import select_available, select_cheapest, select_first
from skyward.model.spec import ComputeSpec
from skyward.spi.selector import ProviderView, Selector
from skyward.testing.conformance import SelectorConformance

type Views = tuple[ProviderView, ...]


class TestCoresOwn(SelectorConformance):
    @pytest.fixture(params=[select_first, select_cheapest, select_available])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        chosen: Selector = request.param
        return chosen


def test_a_thoughtful_selector_of_somebody_else_passes() -> None:
    """The kit asks for nothing that the contract does not."""

    def most_spot(providers: Views, spec: ComputeSpec) -> ProviderView:
        return max(providers, key=lambda provider: (provider.has_spot_capacity(spec), provider.name))

    for name in rules_of(SelectorConformance):
        getattr(SelectorConformance(), name)(most_spot)


# ---- selectors that break one rule each ------------------------------------------------------------------------------


def a_copy(providers: Views, spec: ComputeSpec) -> Any:
    return providers[0].name


async def a_coroutine(providers: Views, spec: ComputeSpec) -> ProviderView:
    return providers[0]


def the_second(providers: Views, spec: ComputeSpec) -> ProviderView:
    return providers[1]


def by_best_offer(providers: Views, spec: ComputeSpec) -> Any:
    return next((each for each in providers if each.offers(spec)), None)


def only_priced(providers: Views, spec: ComputeSpec) -> Any:
    priced = [each for each in providers if any(offer.price is not None for offer in each.offers(spec))]
    return priced[0] if priced or not any(each.offers(spec) for each in providers) else None


def by_name(providers: Views, spec: ComputeSpec) -> Any:
    names = {each.name: each for each in providers}
    return next(iter(names.values())) if len(names) == len(providers) else names


def by_chance() -> Selector:
    source = random.Random(1)
    return lambda providers, spec: source.choice(providers)


def takes_away(providers: Views, spec: ComputeSpec) -> ProviderView:
    providers[0].name = "taken"  # type: ignore[misc]  # the mistake that the rule is about
    return providers[0]


def looks_up(providers: Views, spec: ComputeSpec) -> ProviderView:
    with socket.socket():
        return providers[0]


def remembers() -> Selector:
    seen: list[ProviderView] = []

    def chosen(providers: Views, spec: ComputeSpec) -> ProviderView:
        seen.append(providers[0])
        return seen[0]

    return chosen


def needs_capacity(providers: Views, spec: ComputeSpec) -> Any:
    """Serves in every market of the table, and not where capacity is told."""
    sold_out = all(offer.capacity == 0 for each in providers for offer in each.offers(spec))
    return None if sold_out and any(each.offers(spec) for each in providers) else providers[0]


MUTANTS: list[tuple[str, Callable[..., Any], str]] = [
    (
        "test_it_returns_one_of_the_given_providers",
        a_copy,
        r"returned 'A' for 3 provider\(s\); return one of the objects",
    ),
    ("test_it_answers_at_once_and_is_no_coroutine", a_coroutine, "something to await; write it with def"),
    ("test_it_serves_with_one_provider", a_copy, "return one of the objects"),
    ("test_it_serves_with_providers_that_offer_nothing", by_best_offer, "returned None for 1"),
    ("test_it_serves_with_unknown_prices", only_priced, "returned None for 1"),
    ("test_it_serves_with_equal_offers_and_equal_names", by_name, r"for 3 provider\(s\)"),
    (
        "test_it_gives_the_same_answer_to_the_same_question",
        by_chance(),
        "chose differently .*; decide by the arguments",
    ),
    ("test_it_leaves_its_arguments_as_they_are", takes_away, "changed its arguments; build new values"),
    ("test_it_decides_without_network_processes_or_waiting", looks_up, "opens a socket; decide by what"),
    ("test_its_choices_make_an_order_of_all_providers", remembers(), r"for 4 provider\(s\); return one of"),
    ("test_any_market_will_do", needs_capacity, "returned None"),
]


@pytest.mark.parametrize(("test", "selector", "says"), MUTANTS)
def test_a_selector_that_breaks_the_rule_is_caught(test: str, selector: Selector, says: str) -> None:
    assert_bites(SelectorConformance(), test, selector, says)


def test_a_selector_that_fails_with_an_error_of_its_own_fails_the_test() -> None:
    with pytest.raises(IndexError):
        SelectorConformance().test_it_serves_with_one_provider(the_second)


def test_every_rule_has_a_selector_that_breaks_it() -> None:
    assert_every_rule_has_a_mutant(SelectorConformance, [test for test, _, _ in MUTANTS])


def test_the_markets_at_random_need_no_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    SelectorConformance().test_any_market_will_do(select_cheapest)
    assert_bites(SelectorConformance(), "test_any_market_will_do", needs_capacity, "returned None")
