"""How a pool's machines are divided among the offers: spot or on-demand, and what to try next.

A strategy is any object with `allocate`. Those of ``sky.Allocation`` have no other way than a third party's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol, cast

from attrs import Attribute, field, frozen

from skyward.errors import ConfigurationError
from skyward.model.nearest import did_you_mean
from skyward.model.offer import Offer

__all__ = ["Allocation", "AllocationLike", "AllocationStrategy", "Candidate", "Tranche", "parse_allocation"]


@frozen
class Candidate:
    """An offer that may be taken.

    Attributes:
        provider: the rank of the provider that made it: 0 for the first choice.
        offer: what is offered. It fits the request.
    """

    provider: int
    offer: Offer


@frozen
class Tranche:
    """Machines that are bought from the same candidates.

    Attributes:
        nodes: how many.
        candidates: what to try for them in turn: the next one is asked for what those before it could not give.
            Without any the machines cannot be had.
    """

    nodes: int
    candidates: tuple[Candidate, ...]


class AllocationStrategy(Protocol):
    """Divides a pool's machines among what is offered. Pure: it looks at its arguments and at nothing else."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """Return the tranches to buy.

        It is called with what all providers offer, for the purchase, and with what one of them offers, to learn which
        offers count when providers are compared; never with nothing.

        For a machine in the place of a lost one it is called for the whole pool again, and that machine is bought from
        the tranche in which its node is, counted in their order; so shares stay as they are. If that tranche has no
        candidates, it is called once more, for that machine alone.

        Args:
            candidates: all that fits the request, by the rank of the provider, and within one in its own order of
                preference.
            nodes: how many machines are needed, at least 1.

        Returns:
            tranches whose ``nodes`` are 0 or more and make ``nodes`` together, and whose candidates are of the given
            ones. Anything else is an error, before anything is bought. To refuse, return a tranche without candidates.
        """
        ...


def _is_spot(candidate: Candidate) -> bool:
    return candidate.offer.market == "spot"


def _price(offer: Offer) -> float:
    return math.inf if offer.price is None else offer.price


def _tranche(nodes: int, candidates: Sequence[Candidate], rank: Callable[[Candidate], float]) -> list[Tranche]:
    """One tranche of everything, the candidates of each provider by ``rank``; providers stay in their order."""
    return [Tranche(nodes, tuple(sorted(candidates, key=lambda each: (each.provider, rank(each)))))]


@frozen
class SpotIfAvailable:
    """Spot machines where there are any, on-demand ones for the rest. The default."""

    name: ClassVar[str] = "spot-if-available"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """All machines in one tranche: of each provider first the spot offers, then the others."""
        return _tranche(nodes, candidates, lambda each: not _is_spot(each))


@frozen
class AlwaysSpot:
    """Spot machines or none: provisioning fails when there are too few."""

    name: ClassVar[str] = "spot"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """All machines in one tranche, spot offers only."""
        return [Tranche(nodes, tuple(filter(_is_spot, candidates)))]


@frozen
class OnDemandOnly:
    """On-demand machines only."""

    name: ClassVar[str] = "on-demand"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """All machines in one tranche, on-demand offers only."""
        return [Tranche(nodes, tuple(each for each in candidates if not _is_spot(each)))]


@frozen
class Cheapest:
    """Whatever costs least now, spot or on-demand."""

    name: ClassVar[str] = "cheapest"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """All machines in one tranche: of each provider by price. Unknown prices are the highest."""
        return _tranche(nodes, candidates, lambda each: _price(each.offer))


def _check_share(_strategy: Percent, _attribute: Attribute[float], value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigurationError(f"the share of spot machines is {value!r}; give a fraction from 0 to 1, such as 0.8")


@frozen
class Percent:
    """At least this share of the machines on spot, rounded up; the rest on-demand.

    ``spot`` is a fraction between 0 and 1. Where nothing is to be had on demand, the rest is spot as well.
    """

    name: ClassVar[str] = "percent"
    spot: float = field(validator=_check_share)

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """Two tranches, the spot machines first."""
        # Rounding up is what "at least" asks for; the small term keeps 0.1 * 30 from becoming 4.
        count = math.ceil(self.spot * nodes - 1e-9)
        spot = tuple(filter(_is_spot, candidates))
        on_demand = tuple(each for each in candidates if not _is_spot(each))
        # "At least" also lets the rest be spot, where nothing else is to be had.
        return [Tranche(count, spot), Tranche(nodes - count, on_demand + (spot if count else ()))]


class Allocation:
    """The allocation strategies as values: ``sky.Allocation.SpotIfAvailable()`` and so on.

    ``OnDemand`` may be written with or without parentheses.
    """

    SpotIfAvailable = SpotIfAvailable
    AlwaysSpot = AlwaysSpot
    OnDemand = OnDemandOnly
    Cheapest = Cheapest
    Percent = Percent


type AllocationLike = str | float | AllocationStrategy | type[OnDemandOnly]
"""A strategy's name, a share of spot machines from 0 to 1, or a strategy."""

ALLOCATIONS: dict[str, AllocationStrategy] = {
    "spot-if-available": SpotIfAvailable(),
    "spot": AlwaysSpot(),
    "always-spot": AlwaysSpot(),
    "on-demand": OnDemandOnly(),
    "cheapest": Cheapest(),
}
"""Core's own by their names. A share has none."""

_WITHOUT_ARGUMENTS = (SpotIfAvailable, AlwaysSpot, OnDemandOnly, Cheapest)


def parse_allocation(value: object) -> AllocationStrategy:
    """Return the strategy that a user's value means: a name of core's own, a share of spot, or a strategy.

    Raises:
        ConfigurationError: it means none; the near matches are named.
    """
    if isinstance(value, str):
        if value in ALLOCATIONS:
            return ALLOCATIONS[value]
        raise ConfigurationError(f"allocation {value!r} is unknown{did_you_mean(value, ALLOCATIONS)}")
    if isinstance(value, type):
        if issubclass(value, _WITHOUT_ARGUMENTS):
            return value()
        if callable(getattr(value, "allocate", None)) and value is not Percent:
            raise ConfigurationError(f"allocation is the class {value.__name__}; call it: {value.__name__}()")
    elif callable(getattr(value, "allocate", None)):
        return cast("AllocationStrategy", value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return Percent(value)
    raise ConfigurationError(
        f"allocation is {value!r}; give one of {', '.join(ALLOCATIONS)}, or a share of spot such as 0.8"
    )
