"""``SelectorConformance``: the rules of a selector."""

from __future__ import annotations

import inspect
import random
from typing import cast

from skyward._handles import ProviderHandle
from skyward.model.image import Image
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.selector import ProviderView, Selector
from skyward.testing.conformance._explore import explore, offers_at_random
from skyward.testing.conformance._kit import Broken, Conformance, check, copied, unchanged
from skyward.testing.conformance._quiet import quietly

__all__ = ["SelectorConformance"]


def _offer(provider: str, price: float | None, **more: object) -> Offer:
    market = more.pop("market", "on-demand")
    assert market in ("spot", "on-demand")
    return Offer(
        provider=provider, instance_type="small", region="here-1", market=market, price=price, vcpu=4, memory_gb=16
    )


class SelectorConformance(Conformance):
    """Tests of a selector. Supply the fixture ``selector``: the callable, called as ``selector(providers, spec)``.

    Attributes:
        cases: how many markets are tried at random.
    """

    cases: int = 60

    def spec(self) -> ComputeSpec:
        """The request that it selects for."""
        return ComputeSpec(nodes=2, image=Image())

    def test_it_returns_one_of_the_given_providers(self, selector: Selector) -> None:
        self._choose(selector, [[_offer("A", 2.0)], [_offer("B", 1.0)], [_offer("C", 3.0)]])

    def test_it_answers_at_once_and_is_no_coroutine(self, selector: Selector) -> None:
        answer = cast("object", selector(_stalls([[_offer("A", 1.0)], [_offer("B", 2.0)]]), self.spec()))
        if inspect.iscoroutine(answer):
            answer.close()
        check(
            not inspect.isawaitable(answer),
            "the selector returned something to await; write it with def, not async def: it is called off the event "
            "loop",
        )

    def test_it_serves_with_one_provider(self, selector: Selector) -> None:
        self._choose(selector, [[_offer("A", 1.0)]])

    def test_it_serves_with_providers_that_offer_nothing(self, selector: Selector) -> None:
        self._choose(selector, [[]])
        self._choose(selector, [[], []])
        self._choose(selector, [[], [_offer("B", 1.0)], []])

    def test_it_serves_with_unknown_prices(self, selector: Selector) -> None:
        self._choose(selector, [[_offer("A", None)]])
        self._choose(selector, [[_offer("A", None)], [_offer("B", None)]])
        self._choose(selector, [[_offer("A", None), _offer("A", 1.0)], [_offer("B", None)], [_offer("C", 2.0)]])

    def test_it_serves_with_equal_offers_and_equal_names(self, selector: Selector) -> None:
        self._choose(selector, [[_offer("A", 1.0)], [_offer("A", 1.0)], [_offer("A", 1.0)]])

    def test_it_gives_the_same_answer_to_the_same_question(self, selector: Selector) -> None:
        market = [[_offer("A", 1.0)], [_offer("B", 1.0)], [_offer("C", None)], [_offer("D", 0.5, market="spot")], []]
        answers = {self._choose(selector, market) for _ in range(12)}
        check(
            len(answers) == 1,
            "the selector chose differently when asked the same again; decide by the arguments alone, not by chance, "
            "time or what was chosen before",
        )

    def test_it_leaves_its_arguments_as_they_are(self, selector: Selector) -> None:
        stalls, spec = _stalls([[_offer("A", 2.0)], [_offer("B", 1.0)]]), self.spec()
        before = copied([stall.offers(spec) for stall in stalls], [stall.name for stall in stalls], spec)
        selector(stalls, spec)
        unchanged(
            before, [[stall.offers(spec) for stall in stalls], [stall.name for stall in stalls], spec], "the selector"
        )

    def test_it_decides_without_network_processes_or_waiting(self, selector: Selector) -> None:
        stalls, spec = _stalls([[_offer("A", 2.0)], [_offer("B", 1.0)]]), self.spec()
        with quietly() as noticed:
            selector(stalls, spec)
        check(
            not noticed,
            f"the selector {' and '.join(dict.fromkeys(noticed))}; decide by what the providers have offered already",
        )

    def test_its_choices_make_an_order_of_all_providers(self, selector: Selector) -> None:
        market = [[_offer("A", 2.0)], [_offer("B", None)], [], [_offer("D", 1.0, market="spot")], [_offer("E", 2.0)]]
        left, spec = list(_stalls(market)), self.spec()
        while left:  # as core does for a selector that is known by a name
            left.remove(_one_of(selector(tuple(left), spec), tuple(left)))

    def test_any_market_will_do(self, selector: Selector) -> None:
        def rule(source: random.Random) -> None:
            names = [source.choice(("A", "B", "C")) for _ in range(source.randint(1, 5))]
            self._choose(selector, [list(offers_at_random(source, name, ("spot", "on-demand"), 4)) for name in names])

        explore(rule, self.cases)

    def _choose(self, selector: Selector, market: list[list[Offer]]) -> int:
        """The index of the provider that is chosen."""
        stalls = _stalls(market)
        return stalls.index(_one_of(selector(stalls, self.spec()), stalls))


def _stalls(market: list[list[Offer]]) -> tuple[ProviderHandle, ...]:
    """The views that core gives to a selector."""
    names = [offers[0].provider if offers else f"Empty{number}" for number, offers in enumerate(market)]
    return tuple(ProviderHandle(name, offers) for name, offers in zip(names, market, strict=True))


def _one_of(answer: ProviderView, stalls: tuple[ProviderHandle, ...]) -> ProviderHandle:
    for stall in stalls:
        if answer is stall:
            return stall
    raise Broken(
        f"the selector returned {answer!r} for {len(stalls)} provider(s); return one of the objects that it was given"
    )
