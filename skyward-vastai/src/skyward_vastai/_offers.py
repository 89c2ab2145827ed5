"""From a request to a search, and from what it finds to offers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward.spi import ComputeSpec, Market, Offer
from skyward_vastai._gpus import accelerator, names_of

if TYPE_CHECKING:
    from skyward_vastai._settings import VastAI

__all__ = ["Ask", "Found", "offers_of", "search"]

_LIMIT = 200
"""Asks that one search brings at least."""
_SPARE = 40
"""Offers of each market beside one for each node: what others rent meanwhile is passed over, and there must be an end
to that, since two orders are 4.5 s apart."""
_KIND = re.compile(r"(?P<count>\d+)x (?P<name>\S.*)")
_STEP = 1e-4
"""Dollars to which bids are rounded up."""


@frozen(kw_only=True)
class Ask:
    """What Vast.ai says of a machine, or of a part of one, that is for rent.

    Attributes:
        id: what is ordered by; there is one such machine.
        machine_id: the host.
        gpu_name: in Vast.ai's words.
        num_gpus: how many.
        gpu_ram: of one of them, in MB.
        gpu_frac: which part of the host's GPUs these are, from 0 to 1.
        cpu_cores_effective: virtual CPUs of this part.
        cpu_ram: of the whole host, in MB.
        dph_total: dollars for an hour, with the disk; of a search for bids, by the lowest bid that wins.
        min_bid: the lowest bid that wins, in dollars for an hour, without the disk.
        storage_total_cost: dollars for an hour for the disk.
        geolocation: such as ``"Sweden, SE"``.
    """

    id: int
    machine_id: int = 0
    gpu_name: str = ""
    num_gpus: int = 0
    gpu_ram: float | None = None
    gpu_frac: float | None = None
    cpu_cores_effective: float | None = None
    cpu_ram: float | None = None
    dph_total: float | None = None
    min_bid: float | None = None
    storage_total_cost: float | None = None
    geolocation: str | None = None

    @property
    def kind(self) -> str:
        """The type of machine, as ``"2x RTX 4090"``."""
        return f"{self.num_gpus}x {self.gpu_name or 'CPU'}"

    @property
    def memory_gb(self) -> float:
        """The part's share of the host's memory, in GB."""
        share = 1.0 if self.gpu_frac is None else min(max(self.gpu_frac, 0.0), 1.0)
        return round((self.cpu_ram or 0.0) * share / 1000, 1)

    @property
    def part(self) -> tuple[int, str]:
        """The same for a bid and for an order on demand of the same thing."""
        return self.machine_id, self.kind


@frozen
class Found:
    """What a search brings."""

    offers: list[Ask]


def search(settings: VastAI, spec: ComputeSpec, market: Market) -> dict[str, Any]:
    """The body of the question for what is for rent, the cheapest first."""
    wanted, most = spec.accelerator, settings.max_price
    filters: dict[str, Mapping[str, object] | None] = {
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "verified": {"eq": True} if settings.verified else None,
        "datacenter": {"eq": True} if settings.datacenter else None,
        "reliability": {"gte": settings.reliability},
        "direct_port_count": {"gte": 1},  # a host without one can be reached by Vast.ai's proxy alone
        "disk_space": {"gte": settings.disk_gb},
        "cpu_arch": {"eq": "amd64"},
        "duration": None if spec.timeout is None else {"gte": math.ceil(spec.timeout)},
        "cuda_max_good": None if settings.cuda is None else {"gte": settings.cuda},
        "geolocation": None if settings.geolocation is None else {"in": list(settings.geolocation)},
        "dph_total": None if most is None else {"lte": most},
        "cpu_cores_effective": None if spec.cpu is None else {"gte": spec.cpu},
        "cpu_ram": None if spec.memory_gb is None else {"gte": math.floor(spec.memory_gb * 1000)},
        "gpu_name": None if wanted is None else {"in": names_of(wanted)},
        "num_gpus": None if wanted is None else {"gte": wanted.count},
    }
    if spec.machine is not None:
        # What is no name of Vast.ai's is asked for all the same: nothing comes of it.
        kind = _KIND.fullmatch(spec.machine)
        name = spec.machine if kind is None else kind["name"]
        filters["gpu_name"] = {"in": list(dict.fromkeys((name, name.replace(" ", "_"))))}
        filters["num_gpus"] = filters["num_gpus"] if kind is None else {"eq": int(kind["count"])}
    return {
        **{name: each for name, each in filters.items() if each is not None},
        # On demand is what comes without a word: its name is spelled in two ways in the documentation.
        **({"type": "bid"} if market == "spot" else {}),
        "order": [["dph_total", "asc"], ["reliability", "desc"]],
        "limit": max(_LIMIT, 2 * spec.nodes + _SPARE),
        "allocated_storage": settings.disk_gb,
    }


def offers_of(
    on_demand: Iterable[Ask],
    bids: Iterable[Ask],
    spec: ComputeSpec,
    settings: VastAI,
    *,
    avoided: Collection[int] = (),
) -> list[Offer]:
    """The offers that meet a request, the cheapest first, interruptible and on demand.

    Args:
        on_demand: what is for rent.
        bids: for what bids are taken.
        spec: the request.
        settings: the user's.
        avoided: hosts that have failed; they are offered only where there are no others.
    """
    fixed = [ask for ask in on_demand if ask.dph_total is not None]
    # A bid is compared with the same ask, else with the same part of its host, else with the cheapest of its kind.
    dear: dict[object, float] = {}
    for ask in sorted(fixed, key=lambda ask: ask.dph_total or 0.0, reverse=True):
        dear |= dict.fromkeys((ask.id, ask.part, ask.kind), ask.dph_total or 0.0)
    made = [_offer(ask, "on-demand", ask.dph_total, ask.dph_total, settings) for ask in fixed]
    for ask in bids:
        compared = next((dear[each] for each in (ask.id, ask.part, ask.kind) if each in dear), None)
        if (bid := _bid(ask, compared, settings.bid_margin)) is not None:
            cost = round(bid + (ask.storage_total_cost or 0.0), 6)
            # Savings rest on both prices, so where one is not known neither is told.
            price = None if compared is None else cost
            made.append(_offer(ask, "spot", price, compared, settings, bid=bid, cost=cost))
    good = [offer for offer in made if _fits(offer, spec, settings)]
    sound = [offer for offer in good if offer.details["machine"] not in avoided] or good
    ordered = sorted(sound, key=_cost)
    most = spec.nodes + _SPARE
    kept = [offer for market in ("spot", "on-demand") for offer in [o for o in ordered if o.market == market][:most]]
    return sorted(kept, key=_cost)


def _bid(ask: Ask, on_demand: float | None, margin: float) -> float | None:
    """What to bid: above the lowest bid that wins now, and not more than the machine costs on demand."""
    if ask.min_bid is None:
        return None
    most = math.inf if on_demand is None else on_demand - (ask.storage_total_cost or 0.0)
    bid = max(ask.min_bid, min(ask.min_bid * margin, most))
    return round(math.ceil(round(bid / _STEP, 6)) * _STEP, 6)


def _offer(
    ask: Ask,
    market: Market,
    price: float | None,
    on_demand_price: float | None,
    settings: VastAI,
    **details: object,
) -> Offer:
    return Offer(
        provider=settings.name,
        instance_type=ask.kind,
        region=(ask.geolocation or "").strip(" ,") or "unknown",
        market=market,
        price=price,
        on_demand_price=on_demand_price,
        vcpu=int(ask.cpu_cores_effective or 0),
        memory_gb=ask.memory_gb,
        accelerator=accelerator(ask.gpu_name, ask.num_gpus, ask.gpu_ram or 0.0),
        capacity=1,
        details={"ask": ask.id, "machine": ask.machine_id, "cost": price, **details},
    )


def _fits(offer: Offer, spec: ComputeSpec, settings: VastAI) -> bool:
    """Whether it meets what a search cannot ask for: the form and memory of a GPU, the share of a host's memory."""
    if spec.machine not in (None, offer.instance_type):
        return False
    if offer.vcpu < (spec.cpu or 0) or offer.memory_gb < (spec.memory_gb or 0):
        return False
    if settings.max_price is not None and _cost(offer)[0] > settings.max_price:
        return False
    if spec.accelerator is None:
        return True
    return offer.accelerator is not None and offer.accelerator.satisfies(spec.accelerator)


def _cost(offer: Offer) -> tuple[float, str]:
    """What offers are sorted by. What an interruptible machine costs is known also where it is not told."""
    cost = offer.details["cost"]
    return (cost if isinstance(cost, float | int) else math.inf), str(offer.details["ask"])
