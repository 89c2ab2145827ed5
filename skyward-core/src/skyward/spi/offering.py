"""Of what a vendor sells, what is worth offering: what first-party providers hold to. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from skyward.model.accelerator import Accelerator
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec

__all__ = ["cheapest_first", "meets"]

_LEAST_VCPU, _LEAST_MEMORY_GB = 2, 3.5
"""What a machine has at least where the request does not say: less is too little for Python with its packages."""
_DEAREST = 4.0
"""Machines that cost more than so many times what the cheapest one costs on demand are left out."""


def meets(
    spec: ComputeSpec,
    machine: str,
    *,
    vcpu: float,
    memory_gb: float,
    accelerator: Accelerator | None,
    devices: bool | None = None,
) -> bool:
    """Whether a machine does for a request.

    Whoever names a machine wants that one. Without a name, those with devices that nobody has asked for are none, nor
    are those with less than 2 virtual CPUs or 3.5 GB of memory, unless the request says less.

    Args:
        spec: the request.
        machine: what the vendor calls it.
        vcpu: its virtual CPUs.
        memory_gb: its memory, in GB.
        accelerator: its devices, if they have a name here.
        devices: whether it has any, with a name or without; ``None`` for whether ``accelerator`` says so.
    """
    named = spec.machine is not None
    if named and machine != spec.machine:
        return False
    least_cpu = spec.cpu or (0 if named else _LEAST_VCPU)
    least_memory = spec.memory_gb or (0.0 if named else _LEAST_MEMORY_GB)
    if vcpu < least_cpu or memory_gb < least_memory:
        return False
    if spec.accelerator is None:
        return named or not (accelerator is not None if devices is None else devices)
    return accelerator is not None and accelerator.satisfies(spec.accelerator)


def cheapest_first(offers: Iterable[Offer]) -> list[Offer]:
    """Offers by their price, without those that cost more than four times what the cheapest one costs on demand.

    Those of unknown price come last, the smallest machine first.
    """
    given = list(offers)
    limit = _DEAREST * min(
        (each.on_demand_price for each in given if each.on_demand_price is not None), default=math.inf
    )
    return sorted((each for each in given if (each.on_demand_price or 0.0) <= limit), key=_preference)


def _preference(offer: Offer) -> tuple[object, ...]:
    devices = 0 if offer.accelerator is None else offer.accelerator.count
    price = math.inf if offer.price is None else offer.price
    return (price, devices, offer.vcpu, offer.memory_gb, offer.instance_type, offer.region, offer.market)
