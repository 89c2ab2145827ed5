"""What skyward finds by the entry point: one provider."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_digitalocean._settings import DigitalOcean

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.DigitalOcean``."""
    return [ProviderDescriptor(name=DigitalOcean.name, settings=DigitalOcean)]
