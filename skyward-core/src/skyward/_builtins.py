"""Core's own plugin: what it brings is registered through the same hooks as a third party's."""

from __future__ import annotations

from collections.abc import Iterable

from skyward._local import Local
from skyward.spi.hooks import ProviderDescriptor, hookimpl

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """Nodes on this machine."""
    return [ProviderDescriptor(name="Local", settings=Local)]
