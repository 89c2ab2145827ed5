"""Coroutines side by side, and seen through: nothing of them runs on unseen, whatever befalls who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, overload

__all__ = ["all_of", "end_others", "seen_through", "shielded", "together"]

_LAST_PATIENCE = 10.0
"""Seconds that what still runs on a loop may take to end before the loop does."""
_WHOLE: ContextVar[bool] = ContextVar("skyward_whole", default=False)
"""Whether a task is part of something that is `shielded`."""


@overload
async def together[A, B](coroutines: tuple[Coroutine[Any, Any, A], Coroutine[Any, Any, B]]) -> tuple[A, B]: ...
@overload
async def together[T](coroutines: Iterable[Coroutine[Any, Any, T]]) -> tuple[T, ...]: ...
async def together(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> tuple[Any, ...]:
    """Run all at once and return the results; the first failure cancels the others, and is raised as itself.

    Unlike with `asyncio.gather`, which leaves the others to themselves after a failure or a cancellation, nothing of it
    runs any more when this returns or raises.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return tuple(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await seen_through(tasks)
        raise


async def all_of[T](coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once, each to its end whatever becomes of the others; then return the results, or raise a failure.

    A cancellation is passed on to all.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    caught = await seen_through(tasks, pass_on=True)
    failures = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    if caught is not None or failures:
        raise caught or failures[0]
    return [task.result() for task in tasks]


async def shielded[T](awaitable: Awaitable[T]) -> T:
    """Run to the end whatever is cancelled meanwhile; the cancellation is raised afterwards, unless this failed.

    For what must not be cut off in the middle, such as removing what an order that failed half-way has made. The end of
    the pool's loop waits for it, too.
    """
    token = _WHOLE.set(True)
    try:
        task = asyncio.ensure_future(awaitable)
    finally:
        _WHOLE.reset(token)
    caught = await seen_through([task])
    if caught is not None and not task.cancelled() and task.exception() is None:
        raise caught
    return task.result()


async def seen_through(tasks: Sequence[asyncio.Future[Any]], *, pass_on: bool = False) -> BaseException | None:
    """Wait until all have ended, whatever befalls the waiting; return what did last: as a rule, a cancellation.

    With ``pass_on`` a cancellation goes to the tasks as well.
    """
    caught: BaseException | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except GeneratorExit:  # of a coroutine that is dropped together with its loop
            raise
        except BaseException as error:  # noqa: BLE001  the caller raises it
            caught = error
            if pass_on and isinstance(error, asyncio.CancelledError):
                for task in left:
                    task.cancel()
    return caught


async def end_others() -> None:
    """Cancel what else runs on this loop, for its end, and wait for that, though not for ever.

    What is `shielded` is not cancelled, nor are the tasks that it consists of; it is only waited for.
    """
    await asyncio.sleep(0)  # what was handed over last begins
    loop = asyncio.get_running_loop()
    end = loop.time() + _LAST_PATIENCE
    told: set[asyncio.Task[Any]] = set()
    while (others := asyncio.all_tasks() - {asyncio.current_task()}) and (left := end - loop.time()) > 0:
        for task in others - told:
            if not task.get_context().get(_WHOLE, False):
                task.cancel()
        told |= others
        await asyncio.wait(others, timeout=left)
