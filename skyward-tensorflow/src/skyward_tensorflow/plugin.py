"""What skyward finds by the entry point: the integration of tensorflow."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl
from skyward_tensorflow import tensorflow

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.tensorflow``."""
    return [IntegrationDescriptor(name="tensorflow", factory=tensorflow)]
