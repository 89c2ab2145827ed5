"""What skyward finds by the entry point: one provider."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_aws._settings import AWS

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.AWS``."""
    return [ProviderDescriptor(name=AWS.name, settings=AWS)]
