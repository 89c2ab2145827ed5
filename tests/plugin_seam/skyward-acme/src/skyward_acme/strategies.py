"""A selector and an allocation: both pure."""

from __future__ import annotations

from collections.abc import Sequence

from skyward.spi import Candidate, ComputeSpec, ProviderView, Tranche

__all__ = ["Thirds", "nearest"]


def nearest(providers: tuple[ProviderView, ...], spec: ComputeSpec, /) -> ProviderView:
    """The first provider with an offer on the moon; else the first."""
    for provider in providers:
        if any(offer.region.startswith("tranquility") for offer in provider.offers(spec)):
            return provider
    return providers[0]


class Thirds:
    """A third of the machines on spot, rounded down, and the rest on demand."""

    name = "acme-thirds"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        """Two tranches."""
        spot = tuple(each for each in candidates if each.offer.market == "spot")
        rest = tuple(each for each in candidates if each.offer.market != "spot")
        return [Tranche(nodes // 3, spot), Tranche(nodes - nodes // 3, rest)]
