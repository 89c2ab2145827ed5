"""What skyward finds by the entry point: one provider."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_runpod._settings import RunPod

__all__ = ["skyward_providers"]


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.RunPod``."""
    return [ProviderDescriptor(name=RunPod.name, settings=RunPod)]
