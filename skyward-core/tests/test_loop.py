"""The end of a pool's loop."""

from __future__ import annotations

import asyncio
import threading

from skyward._concurrency import shielded
from skyward._loop import LoopThread


def test_the_end_of_a_loop_cancels_what_runs_and_sees_through_what_is_shielded() -> None:
    loop = LoopThread("test")
    begun, seen = threading.Event(), list[str]()
    cancelled, never = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            begun.set()
            await never.wait()
        finally:
            seen.append("cancelled")
            cancelled.set()

    async def step(name: str) -> None:
        await cancelled.wait()
        await asyncio.sleep(0)
        seen.append(name)

    async def whole() -> None:
        await asyncio.gather(step("one"), step("two"))
        await shielded(step("three"))

    abandoned = loop.start(shielded(whole()))
    loop.start(endless())
    assert begun.wait(60)
    loop.close()
    assert seen == ["cancelled", "one", "two", "three"]
    assert abandoned.cancelled(), "whoever waits is told that it is over, behind what was waited for"
