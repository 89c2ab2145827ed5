"""Offers to sell, in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyward.model.offer import Offer

if TYPE_CHECKING:
    from skyward.model.accelerator import Accelerator
    from skyward.model.spec import Market

__all__ = ["on_demand", "spot"]


def spot(provider: str = "Fake", kind: str = "small", price: float | None = 0.25, **more: Any) -> Offer:
    """An offer of a spot machine, by default for $0.25 an hour instead of $1.

    Args:
        provider: the provider's name; a cloud puts its own there.
        kind: the name of the machine type.
        price: dollars for an hour; ``None`` for unknown.
        more: other fields of `skyward.spi.Offer`, such as ``capacity=2``, ``billing_quantum=3600`` or
            ``accelerator="A100:8"``.
    """
    return _offer("spot", provider, kind, price, {"on_demand_price": 1.0, **more})


def on_demand(provider: str = "Fake", kind: str = "small", price: float | None = 1.0, **more: Any) -> Offer:
    """An offer of an on-demand machine, by default for $1 an hour; the arguments are those of `spot`."""
    return _offer("on-demand", provider, kind, price, more)


def _offer(market: Market, provider: str, kind: str, price: float | None, more: dict[str, Any]) -> Offer:
    accelerator = _accelerator(more.pop("accelerator", None))
    region = more.pop("region", "here-1")
    return Offer(
        provider=provider,
        instance_type=kind,
        region=region,
        market=market,
        price=price,
        accelerator=accelerator,
        **more,
    )


def _accelerator(value: str | Accelerator | None) -> Accelerator | None:
    if value is None:
        return None
    from skyward.model.accelerator import Accelerator  # it reads the catalogue

    return Accelerator.parse(value)
