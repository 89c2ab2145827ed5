"""What skyward finds by the entry point: the integration of keras."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl
from skyward_keras import keras

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.keras``."""
    return [IntegrationDescriptor(name="keras", factory=keras)]
