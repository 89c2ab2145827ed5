"""Buying of a fake cloud by hand, as the road does it for a pool."""

from __future__ import annotations

from typing import Any

import skyward as sky
from skyward.model.instance import Instance
from skyward.spi import ComputeSpec, LaunchRequest, Offer, PoolIdentity
from skyward.testing import FakeCloud, VirtualClock, spot
from skyward.testing._session import FakeSession

SPEC = ComputeSpec(nodes=1, image=sky.Image())
NO_WIRE: Any = None  # for transports whose links end in no socket


def identity(clock: VirtualClock, pool_id: str = "pool", **more: Any) -> PoolIdentity:
    values: dict[str, Any] = {"owner": "me@here", "deadline": clock.time() + 3600, "lease": None, "token": b"t" * 32}
    return PoolIdentity(pool_id=pool_id, **{**values, **more})


async def session_of(cloud: FakeCloud, pool_id: str = "pool", **more: Any) -> FakeSession:
    return await cloud.provider.open(identity(cloud.clock, pool_id, **more))


async def buy(session: FakeSession, *nodes: int, offer: Offer | None = None) -> list[Instance]:
    request = LaunchRequest(offer=spot() if offer is None else offer, nodes=nodes or (0,), spec=SPEC)
    return list(await session.launch(request))


def simulated(**parameters: Any) -> FakeCloud:
    return FakeCloud(nodes="simulated", **parameters)


async def buy_one(cloud: FakeCloud) -> None:
    await buy(await session_of(cloud))
