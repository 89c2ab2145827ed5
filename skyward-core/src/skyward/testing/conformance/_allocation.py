"""``AllocationConformance``: the rules of an allocation strategy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

from skyward.model.allocation import AllocationStrategy, Candidate, Tranche
from skyward.model.offer import Offer
from skyward.model.spec import Market
from skyward.testing.conformance._explore import explore, offers_at_random
from skyward.testing.conformance._kit import Conformance, check, check_value, copied, unchanged
from skyward.testing.conformance._quiet import quietly

__all__ = ["AllocationConformance"]

_BOTH: tuple[Market, ...] = ("spot", "on-demand")


class AllocationConformance(Conformance):
    """Tests of an allocation strategy. Supply the fixture ``allocation``: the strategy.

    Attributes:
        markets: those that it may buy from. One that the strategy's users never want, such as ``"spot"`` for a strategy
            that promises on-demand machines, is left out here, and then no candidate of it may be chosen.
        cases: how many markets are tried at random.
    """

    markets: tuple[Market, ...] = _BOTH
    cases: int = 100

    def test_it_has_a_name(self, allocation: AllocationStrategy) -> None:
        name: object = getattr(allocation, "name", None)
        check(
            isinstance(name, str) and name.strip(),
            f"the strategy's name is {name!r}; give it the attribute name, a string: messages call it so",
        )

    def test_it_is_a_value(self, allocation: AllocationStrategy) -> None:
        check_value(allocation, "the strategy")

    def test_it_returns_tranches(self, allocation: AllocationStrategy) -> None:
        answer = cast("object", allocation.allocate(_candidates(_MIXED), 4))
        check(
            isinstance(answer, Sequence)
            and all(isinstance(each, Tranche) for each in cast("Sequence[object]", answer)),
            f"allocate returned {answer!r}; return a list of Tranche(nodes, candidates)",
        )

    def test_its_tranches_make_the_number_of_nodes(self, allocation: AllocationStrategy) -> None:
        for nodes in (2, 3, 7, 10, 30):
            _divided(allocation, _candidates(_MIXED), nodes)

    def test_one_node_is_not_lost_in_rounding(self, allocation: AllocationStrategy) -> None:
        for sold in (_MIXED, _SPOT_ONLY, _ON_DEMAND_ONLY):
            _divided(allocation, _candidates(sold), 1)

    def test_many_nodes_are_divided_exactly(self, allocation: AllocationStrategy) -> None:
        for nodes in (997, 1000, 100_000):
            _divided(allocation, _candidates(_MIXED), nodes)

    def test_its_candidates_are_among_the_given(self, allocation: AllocationStrategy) -> None:
        for sold in (_MIXED, _SPOT_ONLY, _ON_DEMAND_ONLY, _UNPRICED):
            _chosen_from(_candidates(sold), allocation.allocate(_candidates(sold), 3))

    def test_no_candidate_is_tried_twice_for_the_same_machines(self, allocation: AllocationStrategy) -> None:
        for tranche in allocation.allocate(_candidates(_MIXED), 4):
            check(
                len(set(map(_key, tranche.candidates))) == len(tranche.candidates),
                "a tranche names a candidate twice; name each once, since what it could not give it cannot give again",
            )

    def test_it_serves_where_only_one_market_is_offered(self, allocation: AllocationStrategy) -> None:
        for sold in (_SPOT_ONLY, _ON_DEMAND_ONLY):
            _divided(allocation, _candidates(sold), 5)

    def test_it_serves_with_unknown_prices(self, allocation: AllocationStrategy) -> None:
        _divided(allocation, _candidates(_UNPRICED), 3)

    def test_it_buys_from_no_market_that_it_leaves_out(self, allocation: AllocationStrategy) -> None:
        for sold in (_MIXED, _SPOT_ONLY, _ON_DEMAND_ONLY, _UNPRICED):
            for tranche in allocation.allocate(_candidates(sold), 5):
                found = {candidate.offer.market for candidate in tranche.candidates} - set(self.markets)
                check(
                    not found,
                    f"a tranche has candidates of {' and '.join(sorted(found))}, and the strategy declares "
                    f"markets={self.markets!r}; leave them out, and return a tranche without candidates to refuse",
                )

    def test_it_gives_the_same_answer_to_the_same_question(self, allocation: AllocationStrategy) -> None:
        answers = [list(allocation.allocate(_candidates(_MIXED), 7)) for _ in range(12)]
        check(
            all(answer == answers[0] for answer in answers),
            "the strategy divided differently when asked the same again; decide by the arguments alone, not by chance, "
            "time or what was asked before",
        )

    def test_it_leaves_its_arguments_as_they_are(self, allocation: AllocationStrategy) -> None:
        candidates = _candidates(_MIXED)
        before = copied(*candidates)
        allocation.allocate(candidates, 5)
        unchanged(before, candidates, "the strategy")

    def test_it_decides_without_network_processes_or_waiting(self, allocation: AllocationStrategy) -> None:
        candidates = _candidates(_MIXED)
        with quietly() as noticed:
            list(allocation.allocate(candidates, 5))
        check(
            not noticed,
            f"the strategy {' and '.join(dict.fromkeys(noticed))}; decide by the offers, with the prices in them",
        )

    def test_any_market_will_do(self, allocation: AllocationStrategy) -> None:
        def rule(source: random.Random) -> None:
            sold = [
                offers_at_random(
                    source, source.choice(("A", "B")), source.choice((_BOTH, ("spot",), ("on-demand",))), 4
                )
                for _ in range(source.randint(1, 4))
            ]
            candidates = _candidates(sold)
            if candidates:  # a strategy is never asked about nothing
                nodes = source.randint(1, 64)
                _chosen_from(candidates, _divided(allocation, candidates, nodes))

        explore(rule, self.cases)


def _offer(provider: str, market: Market, price: float | None, kind: str = "small") -> Offer:
    return Offer(
        provider=provider,
        instance_type=kind,
        region="here-1",
        market=market,
        price=price,
        on_demand_price=1.0,
        vcpu=4,
        memory_gb=16,
        details={"zone": "here-1a"},
    )


_MIXED = (
    (_offer("A", "spot", 0.25), _offer("A", "on-demand", 1.0), _offer("A", "spot", 0.5, "large")),
    (_offer("B", "on-demand", 0.75), _offer("B", "spot", 0.25), _offer("B", "on-demand", 0.75)),
    (),
    (_offer("A", "spot", 0.25),),
)
_SPOT_ONLY = ((_offer("A", "spot", 0.25), _offer("A", "spot", 0.25)), (_offer("B", "spot", None),))
_ON_DEMAND_ONLY = ((_offer("A", "on-demand", 1.0),), (_offer("B", "on-demand", 1.0),))
_UNPRICED = ((_offer("A", "spot", None), _offer("A", "on-demand", None)), (_offer("B", "on-demand", None),))


def _candidates(sold: Sequence[Sequence[Offer]]) -> tuple[Candidate, ...]:
    return tuple(Candidate(rank, offer) for rank, offers in enumerate(sold) for offer in offers)


def _key(candidate: Candidate) -> tuple[int, int]:
    return candidate.provider, id(candidate.offer)


def _divided(allocation: AllocationStrategy, candidates: tuple[Candidate, ...], nodes: int) -> Sequence[Tranche]:
    """The tranches for so many nodes, which must be that many."""
    tranches = allocation.allocate(candidates, nodes)
    parts = [tranche.nodes for tranche in tranches]
    check(
        all(type(part) is int and part >= 0 for part in parts),
        f"the tranches for {nodes} node(s) have {parts} nodes; give whole numbers from 0 up",
    )
    check(
        sum(parts) == nodes,
        f"the tranches for {nodes} node(s) have {' + '.join(map(str, parts)) or 'no'} nodes; make them {nodes} in sum",
    )
    return tranches


def _chosen_from(candidates: tuple[Candidate, ...], tranches: Sequence[Tranche]) -> None:
    strangers = [each for tranche in tranches for each in tranche.candidates if each not in candidates]
    check(
        not strangers,
        f"a tranche has {strangers[:1]}, which was not among the candidates; choose from those that are given, with "
        "their provider's rank",
    )
