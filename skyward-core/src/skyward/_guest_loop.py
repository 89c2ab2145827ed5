"""An asyncio loop without a thread of its own: whoever waits on the reactor's sockets turns it as well.

What runs on it are the connections to nodes that are reached through asyncio. So a caller that waits for a result reads
what comes for it on its own thread, where a loop on another thread would cost two wake-ups for each call.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from skyward._concurrency import end_others

__all__ = ["GuestLoop", "on_loop"]


class _Eager(selectors.DefaultSelector):
    """Waits for nothing: has its loop stop behind what is ready now, and notes when there is more to do."""

    loop: GuestLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready."""
        if self.loop is None:  # it is being made or closed, in its own time
            return super().select(timeout)
        self.loop.due = math.inf if timeout is None else time.monotonic() + timeout
        self.loop.stop()
        return super().select(0)


class GuestLoop(asyncio.SelectorEventLoop):
    """To be turned when its file can be read, and when it is ``due`` (as of ``time.monotonic``); never by two threads.

    To a selector it is a file, and to the reactor something that it watches.
    """

    first = True

    def __init__(self) -> None:
        self.due = 0.0
        self._eager = _Eager()
        super().__init__(self._eager)
        self._eager.loop = self

    @staticmethod
    def kept_out() -> bool:
        """Whether this thread runs a loop already, and so cannot turn this one."""
        return events._get_running_loop() is not None

    def fileno(self) -> int:
        """The selector's own file, readable when one of those in it is ready."""
        return self._eager.fileno()

    def ready(self, events: int = 0) -> None:
        """Do what can be done now."""
        self.run_forever()

    def call_soon[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As of any loop; between two turns too, which makes the next one due."""
        self.due = 0.0
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As of any loop."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self.due = 0.0  # in case that who turns it is past waiting on its file in this round
        return handle

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As of any loop; between two turns too, which makes the next one due by then."""
        self.due = min(self.due, when)
        return super().call_at(when, callback, *args, context=context)

    def close(self) -> None:
        """Cancel what still runs, wait for its end, and close."""
        self._eager.loop = None
        if not self.is_closed():
            self.run_until_complete(end_others())
            self.run_until_complete(self.shutdown_asyncgens())
            self.run_until_complete(self.shutdown_default_executor())
        super().close()


async def on_loop[T](
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], resume: Callable[[], None] = lambda: None
) -> T:
    """Await ``work`` on another loop, to its end: where this is cancelled, so is the work.

    Args:
        loop: of another thread, or the running one.
        work: what to run there.
        resume: called after each word to the loop, for one that may not be listening.

    Raises:
        ConnectionError: the loop is closed.
    """
    here = asyncio.get_running_loop()
    if here is loop:
        return await work
    ended: asyncio.Future[None] = here.create_future()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(loop.create_task(work))
        tasks[0].add_done_callback(lambda _: here.call_soon_threadsafe(ended.set_result, None))

    def cancel() -> None:
        tasks[0].cancel()

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError as error:
        work.close()
        raise ConnectionError("the pool has ended") from error
    resume()
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(cancel)
            resume()
    return tasks[0].result()
