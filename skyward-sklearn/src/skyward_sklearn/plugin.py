"""What skyward finds by the entry point: the integrations of joblib and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import IntegrationDescriptor, hookimpl

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.joblib`` and the others."""
    return []
