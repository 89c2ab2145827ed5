"""What skyward finds by the entry point: the integration of jax."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl
from skyward_jax import jax

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.jax``."""
    return [IntegrationDescriptor(name="jax", factory=jax)]
