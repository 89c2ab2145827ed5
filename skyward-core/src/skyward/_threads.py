"""Threads for a loop's blocking calls which hold up neither the end of the loop nor that of the program."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["Threads"]

_MOST = 32
"""Calls at a time; further ones wait for their turn."""


class Threads(concurrent.futures.ThreadPoolExecutor):
    """An executor of daemon threads for `asyncio.loop.set_default_executor`, which accepts this base class alone.

    A provider's client may block for minutes after the coroutine that waited for it was told that it takes too long.
    The threads of the base class are waited for at a loop's end and at the interpreter's, whoever still wants their
    answers. These are not; a thread ends when there is nothing to do for it.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # which starts no thread before its own `submit` is called
        self._lock = threading.Lock()
        self._calls: deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = deque()
        self._threads_now = 0
        self._over = False

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[R]:
        """Run a call on a thread, as soon as one may.

        Raises:
            RuntimeError: the executor was shut down.
        """
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        with self._lock:
            if self._over:
                raise RuntimeError("the loop that these threads belong to has ended: call before that")
            self._calls.append((future, partial(fn, *args, **kwargs)))
            begin = self._threads_now < _MOST
            self._threads_now += begin
        if begin:
            threading.Thread(target=self._work, name="skyward-call", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._threads_now -= 1
                    return
                future, call = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = call()
            except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(answer)
            del future, call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls, and forget those that wait for their turn. Nothing is waited for."""
        with self._lock:
            self._over = True
            left, self._calls = self._calls, deque()
        for future, _ in left:
            future.cancel()
