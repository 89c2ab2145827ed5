"""What a user's own selector sees of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyward._selection import fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skyward.model.machine import MachineType
    from skyward.model.offer import Offer
    from skyward.model.spec import ComputeSpec

__all__ = ["ProviderHandle", "select_available", "select_cheapest", "select_first"]


class ProviderHandle:
    """A provider with the offers that it has just made; asking it costs nothing.

    ``name`` is the provider's.
    """

    __slots__ = ("_offers", "_spec", "name")

    def __init__(self, name: str, offers: Sequence[Offer], spec: ComputeSpec) -> None:
        self.name = name
        self._offers = tuple(offers)
        self._spec = spec

    def offers(self, spec: ComputeSpec) -> tuple[Offer, ...]:
        """The offers that meet ``spec``, in the provider's order."""
        return tuple(offer for offer in self._offers if fits(offer, spec))

    def has_spot_capacity(self, spec: ComputeSpec) -> bool:
        """Whether a spot offer meets ``spec``."""
        return any(offer.market == "spot" and offer.capacity != 0 for offer in self.offers(spec))

    def available_instances(self) -> tuple[MachineType, ...]:
        """The machine types on offer."""
        from skyward.model.machine import MachineType

        return tuple(
            MachineType(
                name=offer.instance_type,
                vcpu=offer.vcpu,
                memory_gb=offer.memory_gb,
                accelerator=offer.accelerator,
                price_on_demand=offer.on_demand_price,
                price_spot=offer.price if offer.market == "spot" else None,
            )
            for offer in self._offers
        )

    def __repr__(self) -> str:
        return f"<provider {self.name} with {len(self._offers)} offers>"


def select_first(providers: tuple[ProviderHandle, ...], spec: ComputeSpec) -> ProviderHandle:
    """The first provider of the list."""
    del spec
    return providers[0]


def select_available(providers: tuple[ProviderHandle, ...], spec: ComputeSpec) -> ProviderHandle:
    """The first provider that has an offer; the first of all when none has."""
    return next((provider for provider in providers if provider.offers(spec)), providers[0])


def select_cheapest(providers: tuple[ProviderHandle, ...], spec: ComputeSpec) -> ProviderHandle:
    """The provider with the lowest price; unknown prices count as the highest."""

    def lowest(provider: ProviderHandle) -> float:
        prices = [offer.price for offer in provider.offers(spec) if offer.price is not None]
        return min(prices, default=float("inf"))

    return min(providers, key=lowest)
