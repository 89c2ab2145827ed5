"""What Skyward finds through the entry point."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.spi import ProviderDescriptor, hookimpl
from skyward_acme.extras import *  # noqa: F403  hooks that a provider needs none of
from skyward_acme.provider import Acme


@hookimpl
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """``sky.Acme``."""
    return [ProviderDescriptor(name=Acme.name, settings=Acme)]
