"""From offers to an ordered plan of what to buy. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from skyward.model.allocation import AlwaysSpot, Cheapest, OnDemandOnly, Percent, SpotIfAvailable
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec, Market

__all__ = ["Order", "fits", "plan", "rank_providers"]


@frozen
class Order:
    """Machines to buy: which nodes they become, and the offers to try in turn."""

    nodes: tuple[int, ...]
    offers: tuple[Offer, ...]


def fits(offer: Offer, spec: ComputeSpec) -> bool:
    """Whether an offer meets a request. Figures that an offer leaves at 0 are taken as unknown and let pass."""
    if spec.machine is not None and offer.instance_type != spec.machine:
        return False
    if spec.cpu is not None and offer.vcpu and offer.vcpu < spec.cpu:
        return False
    if spec.memory_gb is not None and offer.memory_gb and offer.memory_gb < spec.memory_gb:
        return False
    wanted = spec.accelerator
    if wanted is None:
        return True
    held = offer.accelerator
    return held is not None and held.name == wanted.name and held.count >= wanted.count


def rank_providers(offers: Sequence[Sequence[Offer]], selection: str) -> list[int]:
    """Order the providers by their offers: ``first``, ``available`` or ``cheapest``. Those without offers go last."""
    order = list(range(len(offers)))
    if selection == "cheapest":
        return sorted(order, key=lambda index: min((_price(offer) for offer in offers[index]), default=math.inf))
    if selection == "available":
        return sorted(order, key=lambda index: not offers[index])
    return order


def plan(offers: Sequence[Offer], allocation: object, nodes: Sequence[int]) -> list[Order]:
    """Split nodes between the markets. ``offers`` come in the order of preference, which is kept within a market.

    An order without offers means that the request cannot be met.
    """
    spot, on_demand = _of(offers, "spot"), _of(offers, "on-demand")
    everyone = tuple(nodes)
    match allocation:
        case SpotIfAvailable():
            return [Order(everyone, spot + on_demand)]
        case AlwaysSpot():
            return [Order(everyone, spot)]
        case OnDemandOnly():
            return [Order(everyone, on_demand)]
        case Cheapest():
            return [Order(everyone, tuple(sorted(offers, key=_price)))]
        case Percent(spot=share):
            # Rounding up is what "at least" asks for; the small term keeps 0.1 * 30 from becoming 4.
            count = math.ceil(share * len(everyone) - 1e-9)
            orders = [Order(everyone[:count], spot), Order(everyone[count:], on_demand)]
            return [order for order in orders if order.nodes]
        case _:
            raise AssertionError(allocation)


def _of(offers: Sequence[Offer], market: Market) -> tuple[Offer, ...]:
    return tuple(offer for offer in offers if offer.market == market)


def _price(offer: Offer) -> float:
    return math.inf if offer.price is None else offer.price
