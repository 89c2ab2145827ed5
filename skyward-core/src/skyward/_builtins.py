"""Core's own plugin: what it brings is registered through the same hooks as a third party's.

The tables of names are where these things are, so that a pool finds them without loading any plugin.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyward._handles import SELECTORS
from skyward._local import Local
from skyward.model.allocation import ALLOCATIONS
from skyward.spi.hooks import AllocationDescriptor, ProviderDescriptor, SelectorDescriptor, hookimpl

__all__ = ["skyward_allocations", "skyward_providers", "skyward_selectors"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """Nodes on this machine."""
    return [ProviderDescriptor(name="Local", settings=Local)]


@hookimpl
def skyward_selectors() -> Iterable[SelectorDescriptor]:
    """The first, the cheapest, and the first with an offer."""
    return [SelectorDescriptor(name=name, select=select) for name, select in SELECTORS.items()]


@hookimpl
def skyward_allocations() -> Iterable[AllocationDescriptor]:
    """Spot and on-demand, in several mixtures."""
    return [AllocationDescriptor(name=name, strategy=strategy) for name, strategy in ALLOCATIONS.items()]
