"""``skyward reap`` finds by their labels alone what dead clients have left, outbid instances too; nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes.sessions import command
from fakes.vastai import VastAIServer

from skyward import Image
from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity

LONG_AGO = 1.0e9


@pytest.mark.slow
def test_what_dead_clients_have_left_is_destroyed_and_what_lives_stays(
    vastai_api: VastAIServer,
    opened: Callable[..., Any],
    identity: Callable[..., PoolIdentity],
    tmp_path: Path,
) -> None:
    late, living = identity(deadline=LONG_AGO), identity()

    async def before() -> list[str]:
        ids: list[str] = []
        for who in (late, late, living):
            spec = ComputeSpec(nodes=1, image=Image())
            async with opened(who) as session:  # whose end leaves machines alone
                offers = [offer for offer in await session.offers(spec) if offer.market == "spot"]
                [machine] = await session.launch(LaunchRequest(offer=offers[0], nodes=(0,), spec=spec))
                ids.append(machine.id)
        return ids

    outbid, running, alive = asyncio.run(before())
    vastai_api.outbid(int(outbid))
    reap = partial(command, "VastAI", tmp_path, "reap")
    found = reap("--dry-run")
    assert (found["status"], found["problems"]) == (1, [])
    assert sorted(each["id"] for each in found["machines"]) == [outbid, running]
    assert len(vastai_api.ours) == 3, "a dry run removes nothing"

    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert {(each["pool"], each["why"]) for each in removed["machines"]} == {(late.pool_id, "its deadline has passed")}
    assert [str(each.id) for each in vastai_api.ours] == [alive]
