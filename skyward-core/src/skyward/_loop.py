"""The one bridge between synchronous callers and coroutines: an event loop on a thread of its own, for one pool."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any

from skyward._concurrency import end_others
from skyward._interrupts import shield
from skyward._threads import Threads
from skyward._waiting import wait_for

__all__ = ["LoopThread"]

_PATIENCE = 15.0
"""Seconds for which a loop is waited for that somebody blocks; longer than `end_others` takes at most."""


class LoopThread:
    """An asyncio loop that runs until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(Threads())
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def start[T](self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; cancelled when the waiting is interrupted. Not on the loop's own thread."""
        with shield:
            outcome = self.start(coroutine)
            try:
                wait_for([outcome])
                return outcome.result()
            except BaseException:
                outcome.cancel()
                raise

    def close(self) -> None:
        """Cancel what still runs, wait for its end and for what is shielded, stop the loop, and wait for its thread."""
        if not self._thread.is_alive():
            return
        concurrent.futures.wait([self.start(end_others())], timeout=_PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
