"""From offers to an ordered plan of what to buy. Pure.

Two choices meet here. The selection orders the providers, and that order holds above all: the next provider is tried
when the one before it cannot deliver. The allocation orders, or leaves out, the offers of each provider by market.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from skyward.model.allocation import AlwaysSpot, Cheapest, OnDemandOnly, Percent, SpotIfAvailable
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec, Market

__all__ = ["Candidate", "Order", "fits", "plan", "rank_providers", "wanted"]


@frozen
class Candidate:
    """An offer, and which of the providers made it, by its index."""

    seller: int
    offer: Offer


@frozen
class Order:
    """Machines to buy: which nodes they become, and the offers to try in turn. Without offers it cannot be met."""

    nodes: tuple[int, ...]
    offers: tuple[Candidate, ...]


def fits(offer: Offer, spec: ComputeSpec) -> bool:
    """Whether an offer meets a request. Figures that an offer leaves at 0 are taken as unknown and let pass."""
    if spec.machine is not None and offer.instance_type != spec.machine:
        return False
    if spec.cpu is not None and offer.vcpu and offer.vcpu < spec.cpu:
        return False
    if spec.memory_gb is not None and offer.memory_gb and offer.memory_gb < spec.memory_gb:
        return False
    if spec.accelerator is None:
        return True
    return offer.accelerator is not None and offer.accelerator.satisfies(spec.accelerator)


def wanted(offers: Sequence[Offer], allocation: object) -> tuple[Offer, ...]:
    """The offers of one provider that an allocation admits, in the order in which they are to be tried."""
    match allocation:
        case SpotIfAvailable() | Percent():
            return _of(offers, "spot") + _of(offers, "on-demand")
        case AlwaysSpot():
            return _of(offers, "spot")
        case OnDemandOnly():
            return _of(offers, "on-demand")
        case Cheapest():
            return tuple(sorted(offers, key=_price))
        case _:
            raise AssertionError(allocation)


def rank_providers(offers: Sequence[Sequence[Offer]], selection: str, allocation: object) -> list[int]:
    """Order the providers, given by their offers: ``first``, ``available`` or ``cheapest``.

    Only offers that the allocation admits count. Unknown prices are the highest; equals keep their order.
    """
    admitted = [wanted(each, allocation) for each in offers]
    order = list(range(len(offers)))
    if selection == "cheapest":
        return sorted(order, key=lambda index: min(map(_price, admitted[index]), default=math.inf))
    if selection == "available":
        return sorted(order, key=lambda index: not admitted[index])
    return order


def plan(
    offers: Sequence[Sequence[Offer]], ranking: Sequence[int], allocation: object, nodes: Sequence[int]
) -> list[Order]:
    """Split nodes between the markets.

    Args:
        offers: of each provider, in its own order of preference, which is kept within a market.
        ranking: the providers by their index, the first choice first.
        allocation: a strategy of ``sky.Allocation``.
        nodes: the index of each machine that is needed.
    """
    everyone = tuple(nodes)
    if not isinstance(allocation, Percent):
        return [Order(everyone, _candidates(offers, ranking, allocation))]
    # Rounding up is what "at least" asks for; the small term keeps 0.1 * 30 from becoming 4.
    count = math.ceil(allocation.spot * len(everyone) - 1e-9)
    spot = _candidates(offers, ranking, AlwaysSpot())
    # "At least" also lets the rest be spot, where nothing else is to be had.
    rest = _candidates(offers, ranking, OnDemandOnly()) + (spot if count else ())
    orders = [Order(everyone[:count], spot), Order(everyone[count:], rest)]
    return [order for order in orders if order.nodes]


def _candidates(offers: Sequence[Sequence[Offer]], ranking: Sequence[int], allocation: object) -> tuple[Candidate, ...]:
    return tuple(Candidate(index, offer) for index in ranking for offer in wanted(offers[index], allocation))


def _of(offers: Sequence[Offer], market: Market) -> tuple[Offer, ...]:
    return tuple(offer for offer in offers if offer.market == market)


def _price(offer: Offer) -> float:
    return math.inf if offer.price is None else offer.price
