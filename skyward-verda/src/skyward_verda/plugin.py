"""What skyward finds by the entry point: one provider."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_verda._settings import Verda

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.Verda``."""
    return [ProviderDescriptor(name=Verda.name, settings=Verda)]
