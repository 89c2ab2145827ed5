"""What skyward finds by the entry point: the integrations of joblib and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable

import skyward_sklearn
from skyward.spi import IntegrationDescriptor, hookimpl

__all__ = ["skyward_integrations"]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.joblib`` and the others: the names of this package."""
    names = skyward_sklearn.__all__
    return [IntegrationDescriptor(name=name, factory=getattr(skyward_sklearn, name)) for name in names]
