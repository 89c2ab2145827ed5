"""A task that is not wanted any more, for tests of what it leaves."""

from __future__ import annotations

import asyncio

import pytest

__all__ = ["give_up"]


async def give_up(task: asyncio.Task[object], *, impatient: bool = False) -> None:
    """Cancel a task, once or again at each step of the loop, and wait for its end; nothing else may run on by then."""
    task.cancel()
    while impatient and not task.done():
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
