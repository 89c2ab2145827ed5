"""Cancelling a coroutine at one of the moments at which it waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["cancelled_at"]


async def cancelled_at[T](coroutine: Coroutine[Any, Any, T], moment: int, limit: float) -> tuple[asyncio.Task[T], bool]:
    """Run in a task that is cancelled when it waits for the ``moment``-th time (1 is the first).

    Returns the task, which has ended, and whether it was cancelled: its coroutine may have ended before, or gone on.

    Raises:
        TimeoutError: it did not end within ``limit`` seconds of the loop.
    """
    cut: list[bool] = []

    async def watched() -> T:
        return await _stepped(coroutine, moment, cut)

    task = asyncio.ensure_future(watched())
    done, _ = await asyncio.wait([task], timeout=limit)
    if not done:
        task.cancel()
        raise TimeoutError
    return task, bool(cut)


@types.coroutine
def _stepped[T](coroutine: Coroutine[Any, Any, T], moment: int, cut: list[bool]) -> Generator[Any, Any, T]:
    """Hand on what the coroutine waits for, and cancel the running task as it does so for the ``moment``-th time."""
    waits = 0
    error: BaseException | None = None
    while True:
        try:
            waited_for = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            value: T = end.value
            return value
        error = None
        waits += 1
        if waits == moment:
            task = asyncio.current_task()
            assert task is not None
            cut.append(task.cancel())
        try:
            yield waited_for
        except BaseException as thrown:  # noqa: BLE001  the coroutine's to deal with
            error = thrown
