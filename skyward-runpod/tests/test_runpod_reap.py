"""``skyward reap`` finds by their labels alone the pods that dead clients have left, and deletes them; nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fakes.runpod import Fake


def test_what_dead_clients_have_left_is_found_without_local_state_and_what_lives_stays(
    runpod_api: Fake, opened: Any, order: Any, identity: Any, reap: Any
) -> None:
    runpod_api.page_size = 2

    async def abandoned(**of: Any) -> str:
        async with opened(identity(**of)) as session:  # closing it touches no pod
            [machine] = await order(session)
        return str(machine.id)

    async def before() -> list[str]:
        late, stopped = await abandoned(deadline=1.0e9), await abandoned(deadline=1.0e9)
        return [late, stopped, await abandoned(deadline=time.time() + 3600)]

    late, stopped, living = asyncio.run(before())
    runpod_api.stop(stopped)

    found = reap("--dry-run")
    assert (found["status"], found["problems"]) == (1, [])
    assert {each["id"] for each in found["machines"]} == {late, stopped}
    assert set(runpod_api.ours) == {late, stopped, living}, "a dry run removes nothing"

    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert set(runpod_api.ours) == {living}
