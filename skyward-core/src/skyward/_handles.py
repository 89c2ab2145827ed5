"""What a selector sees of a provider, and core's own selectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from skyward._selection import fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skyward.model.machine import MachineType
    from skyward.model.offer import Offer
    from skyward.model.spec import ComputeSpec
    from skyward.spi.selector import ProviderView, Selector

__all__ = ["SELECTORS", "ProviderHandle", "select_available", "select_cheapest", "select_first"]


class ProviderHandle:
    """A provider with the offers that it has just made; asking it costs nothing.

    ``name`` is the provider's.
    """

    __slots__ = ("_offers", "name")

    def __init__(self, name: str, offers: Sequence[Offer]) -> None:
        self.name = name
        self._offers = tuple(offers)

    def offers(self, spec: ComputeSpec) -> tuple[Offer, ...]:
        """The offers that meet ``spec``, in the provider's order."""
        return tuple(offer for offer in self._offers if fits(offer, spec))

    def has_spot_capacity(self, spec: ComputeSpec) -> bool:
        """Whether a spot offer meets ``spec``."""
        return any(offer.market == "spot" and offer.capacity != 0 for offer in self.offers(spec))

    def available_instances(self) -> tuple[MachineType, ...]:
        """The machine types on offer, each once, with the lowest price of each market.

        One whose CPUs or memory the provider does not tell is left out.
        """
        from skyward.model.machine import MachineType

        kinds: dict[str, list[Offer]] = {}
        for offer in self._offers:
            if offer.vcpu > 0 and offer.memory_gb > 0:
                kinds.setdefault(offer.instance_type, []).append(offer)
        return tuple(
            MachineType(
                name=name,
                vcpu=offers[0].vcpu,
                memory_gb=offers[0].memory_gb,
                accelerator=offers[0].accelerator,
                price_on_demand=_lowest(
                    [offer.price if offer.market == "on-demand" else offer.on_demand_price for offer in offers]
                ),
                price_spot=_lowest([offer.price for offer in offers if offer.market == "spot"]),
            )
            for name, offers in kinds.items()
        )

    def __repr__(self) -> str:
        return f"<provider {self.name} with {len(self._offers)} offers>"


def _lowest(prices: Sequence[float | None]) -> float | None:
    return min((price for price in prices if price is not None), default=None)


def select_first(providers: tuple[ProviderView, ...], spec: ComputeSpec, /) -> ProviderView:
    """The first provider of the list."""
    del spec
    return providers[0]


def select_available(providers: tuple[ProviderView, ...], spec: ComputeSpec, /) -> ProviderView:
    """The first provider that has something to sell; the first of all when none has."""
    return next((provider for provider in providers if _on_sale(provider, spec)), providers[0])


def select_cheapest(providers: tuple[ProviderView, ...], spec: ComputeSpec, /) -> ProviderView:
    """The provider with the lowest price; unknown prices count as the highest."""

    def lowest(provider: ProviderView) -> float:
        price = _lowest([offer.price for offer in _on_sale(provider, spec)])
        return math.inf if price is None else price

    return min(providers, key=lowest)


def _on_sale(provider: ProviderView, spec: ComputeSpec) -> list[Offer]:
    """The offers that are not known to be sold out."""
    return [offer for offer in provider.offers(spec) if offer.capacity != 0]


SELECTORS: dict[str, Selector] = {"first": select_first, "cheapest": select_cheapest, "available": select_available}
"""Core's own by their names."""
