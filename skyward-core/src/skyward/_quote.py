"""What a pool is about to buy, in words for the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skyward._spending import Limits, amount

if TYPE_CHECKING:
    from skyward._selection import Order
    from skyward.model.offer import Offer

__all__ = ["quote"]

_SHOWN = 3
"""So many offers are told that are tried if the first one has too little."""


def quote(orders: Sequence[Order], limits: Limits) -> list[str]:
    """What will be bought, where and at what price: a line for each order. None for machines that cost nothing."""
    lines = [_line(order, number, limits) for number, order in enumerate(orders)]
    free = all(bid.offer.price == 0 for order in orders for bid in order.offers)
    return [] if free else lines


def _line(order: Order, number: int, limits: Limits) -> str:
    """The offers have as many machines as they say; one that does not say has enough."""
    bought: list[tuple[int, Offer]] = []
    rest: list[Offer] = []
    missing = len(order.nodes)
    for bid in order.offers:
        count = missing if bid.offer.capacity is None else min(missing, bid.offer.capacity)
        missing -= count
        if count:
            bought.append((count, bid.offer))
        elif bid.offer.capacity != 0:
            rest.append(bid.offer)
    parts = [f"{count} x {_where(offer)} at {_price(offer)}" for count, offer in bought]
    said = f"{'also ' if number else ''}buying {', and '.join(parts)}" if parts else "nothing is there to be bought"
    return f"{said}{_together(bought)}{_otherwise(rest, missing)}{'' if number else _limits(limits)}"


def _together(bought: Sequence[tuple[int, Offer]]) -> str:
    known = [count * offer.price for count, offer in bought if offer.price is not None]
    several = sum(count for count, _ in bought) > 1
    return f", {amount(sum(known))} together" if several and len(known) == len(bought) else ""


def _otherwise(rest: Sequence[Offer], missing: int) -> str:
    if missing:
        return f"; nobody is known to have the other {missing}"
    if not rest:
        return ""
    named = [f"{_where(offer)} at {_price(offer)}" for offer in rest[:_SHOWN]]
    more = f", then {len(rest) - _SHOWN} other offer(s)" if len(rest) > _SHOWN else ""
    return f"; where that is not to be had, {', then '.join(named)}{more}"


def _limits(limits: Limits) -> str:
    hourly = [] if limits.max_hourly_cost is None else [f"at most {amount(limits.max_hourly_cost)} an hour"]
    whole = [] if limits.budget is None else [f"at most {amount(limits.budget)} altogether"]
    return f" ({', '.join((*hourly, *whole))})" if limits.any else ""


def _where(offer: Offer) -> str:
    return f"{offer.instance_type} of {offer.provider} ({offer.market}, {offer.region})"


def _price(offer: Offer) -> str:
    return "a price that is not known" if offer.price is None else f"{amount(offer.price)} an hour"
