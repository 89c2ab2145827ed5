"""What skyward finds by the entry point: the integration of torch."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl
from skyward_torch import torch

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.torch``."""
    return [IntegrationDescriptor(name="torch", factory=torch)]
