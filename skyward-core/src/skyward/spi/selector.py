"""The contract of a selector: which of several providers comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the first reads the catalogue, and few selectors need it
    from skyward.model.machine import MachineType
    from skyward.model.offer import Offer
    from skyward.model.spec import ComputeSpec

__all__ = ["ProviderView", "Selector"]


class ProviderView(Protocol):
    """A provider with the offers that it has just made, of which the allocation admits each. Asking costs nothing."""

    @property
    def name(self) -> str:
        """The provider's name. Two may have the same."""
        ...

    def offers(self, spec: ComputeSpec, /) -> tuple[Offer, ...]:
        """The offers that meet ``spec``, in the order in which they would be tried."""
        ...

    def has_spot_capacity(self, spec: ComputeSpec, /) -> bool:
        """Whether a spot offer meets ``spec``."""
        ...

    def available_instances(self) -> tuple[MachineType, ...]:
        """The machine types on offer, each once, with the lowest price of each market."""
        ...


class Selector(Protocol):
    """Chooses a provider. Synchronous, and called off the event loop.

    One that is known by a name is called again without the provider that it chose, and so on, so that its choices make
    the order in which all are tried. A callable that a user hands over is called once, and the others keep their
    order behind its choice.
    """

    def __call__(self, providers: tuple[ProviderView, ...], spec: ComputeSpec, /) -> ProviderView:
        """Return one of ``providers``, of which there is at least one."""
        ...
