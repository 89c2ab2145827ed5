"""What Verda sells and what it costs, as offers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping

from attrs import field, frozen

from skyward import Accelerator, ConfigurationError
from skyward.spi import ComputeSpec, Market, Offer, cheapest_first, meets

__all__ = ["Available", "Description", "Devices", "Kind", "Memory", "accelerator_of", "offers_of"]

_BLOCK = 600.0
"""Seconds: Verda takes the price of ten minutes in advance, again and again, as its users' invoices show."""
_USABLE = 0.15
"""The share of a device's memory by which a vendor may state less than its maker does, as what is usable of it."""


@frozen
class Memory:
    """An amount of memory."""

    size_in_gigabytes: float = 0.0


@frozen
class Devices:
    """GPUs, and what Verda calls them: ``"8x H100 SXM5 80GB"``."""

    number_of_gpus: int = 0
    description: str = ""


@frozen
class Description:
    """Processors."""

    number_of_cores: int = 0


@frozen(kw_only=True)
class Kind:
    """An instance type, as ``GET /instance-types`` tells of it. Prices are for a whole machine and an hour.

    Attributes:
        gpu_memory: of all its GPUs together.
        price_per_hour: in decimal digits; on demand.
        spot_price: likewise.
        supported_os: images that it can boot; none where that is not told.
    """

    instance_type: str
    price_per_hour: str | None = None
    spot_price: str | None = None
    currency: str = "usd"
    name: str | None = None
    model: str | None = None
    cpu: Description = field(factory=Description)
    gpu: Devices = field(factory=Devices)
    memory: Memory = field(factory=Memory)
    gpu_memory: Memory = field(factory=Memory)
    supported_os: tuple[str, ...] = ()


@frozen
class Available:
    """The instance types that a location has now."""

    location_code: str
    availabilities: tuple[str, ...] = ()


def accelerator_of(kind: Kind) -> Accelerator | None:
    """Its GPUs in core's names; ``None`` for none, or for what core has no name for.

    Verda has several names for one thing, of which some are more exact: "H100 SXM5 80GB", "1x H100 SXM5 80GB", "H100".
    """
    count = kind.gpu.number_of_gpus
    if count < 1:
        return None
    memory = kind.gpu_memory.size_in_gigabytes / count
    named = re.match(r"\d+([A-Z]+\d+[A-Z]*)", kind.instance_type)
    for text in (kind.name, kind.gpu.description, kind.model, named and named[1]):
        if text and (device := _device(re.sub(r"^\s*\d+\s*x\s+", "", text, flags=re.IGNORECASE), memory)) is not None:
            return device.with_count(count)
    return None


def _device(text: str, memory: float) -> Accelerator | None:
    """One device by its name, whose memory may be stated as far as it is usable."""
    stated = re.search(r"(\d+(?:\.\d+)?)\s*GB", text, flags=re.IGNORECASE)
    size = float(stated[1]) if stated else memory
    bare = text.replace(stated[0], "").strip() if stated else text
    for spelled in (f"{bare} {size:g}GB", bare):
        try:
            device = Accelerator.parse(spelled)
        except ConfigurationError:
            continue
        if not size or device.memory_gb * (1 - _USABLE) <= size <= device.memory_gb:
            return device
    return None


def offers_of(
    kinds: Iterable[Kind],
    available: Mapping[Market, Iterable[Available]],
    spec: ComputeSpec,
    *,
    provider: str,
    region: str | None,
) -> list[Offer]:
    """What is to be had now that meets a request, the cheapest first.

    Without a machine by name, those with accelerators that nobody has asked for are left out, and very dear ones.

    Args:
        kinds: what is sold.
        available: where there is some, by market.
        spec: the request.
        provider: who offers.
        region: the only location that will do; ``None`` for all.
    """
    places = {
        market: {row.location_code: frozenset(row.availabilities) for row in rows if _same(region, row.location_code)}
        for market, rows in available.items()
    }
    fitting = [(kind, device) for kind in kinds if _fits(kind, device := accelerator_of(kind), spec)]
    return cheapest_first(offer for kind, device in fitting for offer in _of(kind, device, places, provider=provider))


def _same(region: str | None, location: str) -> bool:
    return region is None or region.casefold() == location.casefold()


def _fits(kind: Kind, device: Accelerator | None, spec: ComputeSpec) -> bool:
    return meets(
        spec,
        kind.instance_type,
        vcpu=kind.cpu.number_of_cores,
        memory_gb=kind.memory.size_in_gigabytes,
        accelerator=device,
        devices=kind.gpu.number_of_gpus > 0,
    )


def _of(
    kind: Kind, device: Accelerator | None, places: Mapping[Market, Mapping[str, Collection[str]]], *, provider: str
) -> Iterable[Offer]:
    dear = _price(kind.price_per_hour, kind.currency)
    prices: dict[Market, float | None] = {"on-demand": dear, "spot": _price(kind.spot_price, kind.currency)}
    for market, price in prices.items():
        if market == "spot" and price is None and dear is not None:
            continue  # it is not sold so
        for location, names in places.get(market, {}).items():
            if kind.instance_type in names:
                yield Offer(
                    provider=provider,
                    instance_type=kind.instance_type,
                    region=location,
                    market=market,
                    price=price,
                    on_demand_price=dear,
                    vcpu=kind.cpu.number_of_cores,
                    memory_gb=kind.memory.size_in_gigabytes,
                    accelerator=device,
                    billing_quantum=_BLOCK,
                    billing_minimum=_BLOCK,
                    details={"images": kind.supported_os},
                )


def _price(value: str | None, currency: str) -> float | None:
    """Dollars; ``None`` for what is not sold, is in another currency, or is no number."""
    try:
        price = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return price if currency.casefold() == "usd" and math.isfinite(price) and price > 0 else None
