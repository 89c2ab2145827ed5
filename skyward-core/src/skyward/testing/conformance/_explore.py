"""Trying a pure decision on many inputs: by hypothesis where it is installed, else on a fixed, seeded series."""

from __future__ import annotations

import random
from collections.abc import Callable

from skyward.model.offer import Offer
from skyward.model.spec import Market

__all__ = ["explore", "offers_at_random"]

_SEED = 20_240


def explore(rule: Callable[[random.Random], None], cases: int) -> None:
    """Run ``rule`` on ``cases`` sources of random numbers. A failure of it is raised as it is.

    With hypothesis the smallest input is sought that still fails. Both ways give the same cases in each run.
    """
    try:
        import hypothesis
        from hypothesis import strategies
    except ImportError:
        for number in range(cases):
            rule(random.Random(_SEED + number))  # noqa: S311  chooses inputs
        return

    def example(source: random.Random) -> None:
        rule(source)

    settings = hypothesis.settings(
        max_examples=cases, database=None, deadline=None, derandomize=True, print_blob=False, report_multiple_bugs=False
    )
    source = strategies.randoms(note_method_calls=False, use_true_random=False)
    settings(hypothesis.given(source)(example))()


def offers_at_random(source: random.Random, provider: str, markets: tuple[Market, ...], most: int) -> tuple[Offer, ...]:
    """Up to ``most`` offers of a provider, with equal, missing and free prices among them."""
    return tuple(
        Offer(
            provider=provider,
            instance_type=source.choice(("small", "large")),
            region="here-1",
            market=(market := source.choice(markets)),
            price=(price := source.choice((None, 0.0, 0.25, 1.0, 3.5))),
            on_demand_price=None if market == "spot" and source.randint(0, 1) else price,
            vcpu=4,
            memory_gb=16,
            capacity=source.choice((None, 0, 1, 8)),
        )
        for _ in range(source.randint(0, most))
    )
