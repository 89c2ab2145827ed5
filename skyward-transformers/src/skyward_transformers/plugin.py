"""What skyward finds by the entry point: the integration of transformers."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl
from skyward_transformers import transformers

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.transformers``."""
    return [IntegrationDescriptor(name="transformers", factory=transformers)]
