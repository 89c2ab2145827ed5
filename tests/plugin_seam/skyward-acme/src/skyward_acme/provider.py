"""The provider. It sells in two markets, and what it launches are local nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import skyward as sky
from skyward.spi import (
    Capabilities,
    ComputeSpec,
    Instance,
    LaunchRequest,
    Offer,
    PoolIdentity,
    Session,
    Transport,
    Wire,
)

__all__ = ["Acme"]


@dataclass(frozen=True)
class Acme:
    """Machines in a region of the moon."""

    region: str = "tranquility-1"

    name: ClassVar[str] = "Acme"
    capabilities: ClassVar[Capabilities] = Capabilities(spot=True, default_lease=10)

    async def open(self, identity: PoolIdentity, /) -> AcmeSession:
        """Open a session. A real one would check credentials here."""
        return AcmeSession(self.region, await sky.Local().open(identity))


class AcmeSession:
    """Offers of its own; everything else is what local nodes do."""

    def __init__(self, region: str, nodes: Session) -> None:
        self._region = region
        self._nodes = nodes

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """One machine type, as spot at a quarter of its price."""
        spot = Offer(
            provider=Acme.name,
            instance_type="lander",
            region=self._region,
            market="spot",
            price=0.25,
            on_demand_price=1.0,
        )
        on_demand = Offer(
            provider=Acme.name, instance_type="lander", region=self._region, price=1.0, on_demand_price=1.0
        )
        return [spot, on_demand]

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Start nodes."""
        return await self._nodes.launch(request)

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """How they are."""
        return await self._nodes.describe(ids)

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End them."""
        await self._nodes.terminate(ids)

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Let them live until another moment."""
        await self._nodes.extend(ids, deadline)

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Find them."""
        return await self._nodes.list_owned(pool_id)

    def transport(self, instance: Instance, wire: Wire, /) -> Transport:
        """Reach one."""
        return self._nodes.transport(instance, wire)

    async def close(self) -> None:
        """Let go."""
        await self._nodes.close()
