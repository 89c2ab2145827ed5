"""What a provider can sell: one kind of machine, in one market, at one price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen

from skyward.model.spec import Market

if TYPE_CHECKING:
    from skyward.model.accelerator import Accelerator  # noqa: TC004  it reads the catalogue, which few pools need

__all__ = ["Offer"]


@frozen(kw_only=True)
class Offer:
    """A machine type that a provider would launch.

    Attributes:
        provider: name of the provider.
        instance_type: the provider's name of the machine type.
        region: where it would run.
        market: ``"spot"`` or ``"on-demand"``.
        price: per machine and hour in US dollars, ``None`` when the provider does not say.
        on_demand_price: what the same machine costs on demand, for comparison.
        highest_price: what such a machine may come to at most, where that depends on the place where it is found, and
            ``price`` is what it costs at the cheapest; ``None`` where all cost ``price``.
        vcpu: virtual CPUs.
        memory_gb: memory in GB.
        accelerator: what it has, with its count.
        capacity: how many can be had, ``None`` when unknown.
        billing_quantum: seconds up to which use is rounded.
        billing_minimum: seconds that are paid at least, however short the use.
        details: the provider's own facts that ``launch`` needs; plain values only.
    """

    provider: str
    instance_type: str
    region: str
    market: Market = "on-demand"
    price: float | None = None
    on_demand_price: float | None = None
    highest_price: float | None = None
    vcpu: int = 0
    memory_gb: float = 0
    accelerator: Accelerator | None = None
    capacity: int | None = None
    billing_quantum: float = 1.0
    billing_minimum: float = 0.0
    details: Mapping[str, object] = field(factory=dict, hash=False)
