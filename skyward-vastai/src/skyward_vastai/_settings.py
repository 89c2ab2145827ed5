"""The provider's settings."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from skyward.spi import Capabilities, PoolIdentity, Session

__all__ = ["VastAI"]


@frozen(kw_only=True)
class VastAI:
    """Being written."""

    name: ClassVar[str] = "VastAI"
    capabilities: ClassVar[Capabilities] = Capabilities()

    async def open(self, identity: PoolIdentity, /) -> Session:
        """Open."""
        raise NotImplementedError
