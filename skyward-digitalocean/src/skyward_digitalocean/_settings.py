"""The provider's settings."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from skyward.spi import Capabilities, PoolIdentity, Session

__all__ = ["DigitalOcean"]


@frozen(kw_only=True)
class DigitalOcean:
    """Being written."""

    name: ClassVar[str] = "DigitalOcean"
    capabilities: ClassVar[Capabilities] = Capabilities()

    async def open(self, identity: PoolIdentity, /) -> Session:
        """Open."""
        raise NotImplementedError
