"""The provider's settings."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from skyward.spi import Capabilities, PoolIdentity, Session

__all__ = ["RunPod"]


@frozen(kw_only=True)
class RunPod:
    """Being written."""

    name: ClassVar[str] = "RunPod"
    capabilities: ClassVar[Capabilities] = Capabilities()

    async def open(self, identity: PoolIdentity, /) -> Session:
        """Open."""
        raise NotImplementedError
