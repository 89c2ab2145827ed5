"""What skyward finds by the entry point: one provider."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_vastai._settings import VastAI

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.VastAI``."""
    return [ProviderDescriptor(name=VastAI.name, settings=VastAI)]
