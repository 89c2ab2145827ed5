"""From what a region has and what it costs to offers. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from attrs import evolve, frozen

from skyward import Accelerator
from skyward.spi import ComputeSpec, Market, Offer, cheapest_first, meets
from skyward_aws._catalog import Kind

__all__ = ["Prices", "offers_of", "zone_offer"]

_RISE = 1.1
"""So many times its price of today is what a spot machine may come to: prices are up to minutes old."""
_LEAST_SECONDS = 60.0
"""What is paid at least; then by the second: https://aws.amazon.com/ec2/pricing/on-demand/."""


@frozen
class Prices:
    """Dollars for an hour.

    Attributes:
        on_demand: of each instance type.
        spot: of each in each zone.
    """

    on_demand: Mapping[str, float]
    spot: Mapping[str, Mapping[str, float]]


def offers_of(
    kinds: Iterable[Kind],
    prices: Prices,
    spec: ComputeSpec,
    *,
    provider: str,
    region: str,
    zones: Collection[str],
    architecture: str | None,
) -> list[Offer]:
    """The offers that meet a request, the cheapest first, spot and on demand.

    Without a machine by name, burstable and bare machines and those of an earlier generation are left out, and those
    with accelerators that nobody has asked for.

    Args:
        kinds: what the region has.
        prices: what that costs.
        spec: the request.
        provider: who offers.
        region: where.
        zones: the zones in which there is a subnet for the machines.
        architecture: the only one that will do; ``None`` for ``"x86_64"`` if that has anything, else ``"arm64"``.
    """
    fitting = [kind for kind in kinds if _fits(kind, spec) and set(kind.zones) & set(zones)]
    chosen = architecture or ("x86_64" if any(kind.architecture == "x86_64" for kind in fitting) else "arm64")
    fitting = [kind for kind in fitting if kind.architecture == chosen]
    offers = (
        offer for kind in fitting for offer in _of(kind, prices, provider, region, sorted(set(kind.zones) & set(zones)))
    )
    return sorted(cheapest_first(offers), key=_price)


def zone_offer(offer: Offer, zone: str) -> Offer:
    """The offer at the price of one zone."""
    prices = offer.details.get("zone_prices")
    price = prices.get(zone) if isinstance(prices, Mapping) else None
    if not isinstance(price, float) or offer.price is None:
        return offer
    return evolve(offer, price=price, highest_price=None)


def _fits(kind: Kind, spec: ComputeSpec) -> bool:
    if spec.machine is None and (kind.odd or not kind.plain):
        return False
    device = Accelerator.parse(kind.accelerator) if kind.accelerator else None
    return meets(spec, kind.name, vcpu=kind.vcpu, memory_gb=kind.memory_gb, accelerator=device)


def _of(kind: Kind, prices: Prices, provider: str, region: str, zones: list[str]) -> Iterable[Offer]:
    """The offers of one kind. A spot price that nothing is known to compare with is not told: savings rest on both."""
    dear = prices.on_demand.get(kind.name)
    there = {zone: price for zone, price in prices.spot.get(kind.name, {}).items() if zone in zones}

    def offer(
        market: Market, price: float | None, where: list[str], highest_price: float | None = None, **details: object
    ) -> Offer:
        return Offer(
            provider=provider,
            instance_type=kind.name,
            region=region,
            market=market,
            price=price,
            on_demand_price=dear,
            highest_price=highest_price,
            vcpu=kind.vcpu,
            memory_gb=kind.memory_gb,
            accelerator=Accelerator.parse(kind.accelerator) if kind.accelerator else None,
            billing_minimum=_LEAST_SECONDS,
            details={"architecture": kind.architecture, "zones": where, **details},
        )

    if kind.spot and there:
        cheap, most = min(there.values()), max(there.values())
        highest = max(min(most * _RISE, dear), most) if dear is not None else None  # AWS's own limit is on demand
        yield offer(
            "spot",
            None if dear is None else cheap,
            sorted(there, key=there.__getitem__),
            highest_price=highest,
            zone_prices=there,
        )
    if kind.on_demand:
        yield offer("on-demand", dear, zones)


def _price(offer: Offer) -> float:
    """What offers are sorted by. A spot price that is not told is known all the same."""
    if offer.price is not None:
        return offer.price
    there = offer.details.get("zone_prices")
    return min(there.values()) if isinstance(there, Mapping) and there else math.inf
