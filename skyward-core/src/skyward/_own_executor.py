"""``sky.Executor``: an executor that brings its own pool."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self, Unpack

from skyward import _guards, _interrupts
from skyward._executor import PoolExecutor, Work
from skyward._interrupts import shield
from skyward._pool import ComputePool

if TYPE_CHECKING:
    from types import TracebackType

    from skyward._options import ProviderLike
    from skyward._parameters import PoolParameters

__all__ = ["Executor"]


class Executor(PoolExecutor):
    """A ``concurrent.futures.Executor`` whose workers are machines: ``with sky.Executor(nodes=2) as executor: ...``.

    Takes the parameters of :class:`ComputePool`. The machines are provisioned when the block is entered, or at the
    first ``submit`` without one. Its pool does not become the current one.

    The machines end with ``shutdown``. An executor that is dropped without it, or is there when the program ends, waits
    for its futures and then ends them too. Where an error has left the block or ended the program, what has not begun
    is dropped; after Ctrl-C, SIGTERM or SIGHUP what runs is cut off as well.
    """

    def __init__(self, provider: ProviderLike | None = None, **parameters: Unpack[PoolParameters]) -> None:
        super().__init__(ComputePool(provider, **parameters))
        self._entering = threading.RLock()
        self._life: _Life | None = None

    def __enter__(self) -> Self:
        """Provision the machines."""
        self._ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Wait for the futures, then end the machines. After an error, what waits is dropped; after Ctrl-C all is."""
        if _is_urgent(error):
            with self._entering:
                self._work.shutdown(wait=False, cancel_futures=True)
                if self._life is not None:
                    self._life.end()
        else:
            self.shutdown(wait=True, cancel_futures=kind is not None)
        return False

    def _settled(self) -> bool:
        return self._life is not None or self._work.shut

    def _ensure(self) -> None:
        if self._settled():
            return
        _guards.refuse_in_running_loop(
            "with sky.Executor(...)", "async with sky.ComputePool(...) as pool` and use `pool.executor()"
        )
        with self._entering:
            if self._settled():
                return
            if not threading.main_thread().is_alive():
                raise RuntimeError(
                    "cannot schedule new futures after interpreter shutdown: use the executor before the program ends"
                )
            with shield:
                self._pool._open()  # not its block: the current pool stays what it was
                self._life = _Life(self, self._pool, self._work)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as the base has it
        """As of ``concurrent.futures``, and then end the machines; without ``wait`` that happens in the background.

        Ctrl-C while it waits ends the machines at once, with what runs on them.
        """
        if not wait:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            _in_background(self.shutdown)
            return
        try:
            super().shutdown(wait=True, cancel_futures=cancel_futures)
        finally:
            with self._entering:  # where they are being provisioned, until that is through
                if self._life is not None:
                    self._life.end()


class _Life:
    """The time of an executor's machines. It may outlive the executor, of which it holds what ends them."""

    def __init__(self, executor: Executor, pool: ComputePool, work: Work) -> None:
        self._pool = pool
        self._work = work
        self._process = os.getpid()
        self._ending = threading.RLock()
        self._completer = pool._calls.completer
        self._dropped = weakref.finalize(executor, self._drop)
        self._dropped.atexit = False
        atexit.register(self._exit)  # after the pool's own, and so called before it

    def end(self) -> None:
        """End the machines, or wait for another thread that does. What runs is cut off."""
        if self._process != os.getpid():
            return  # they are not those of a copy of the process
        with self._ending:  # else a program could be over while a thread that it does not wait for is at it
            self._dropped.detach()
            atexit.unregister(self._exit)
            if self._pool.is_active:
                self._pool._close()

    def _drop(self) -> None:
        # Objects are freed at any moment, also inside of locks: no thread is started here.
        self._completer.call(lambda: _in_background(self._finish))

    def _exit(self) -> None:
        """The program ends. In an interactive one the last error was answered, and does not count."""
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_exc", None)
        self._finish(wait=not _is_urgent(error), cancel_futures=error is not None or _interrupts.told_to_end())

    def _finish(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        try:
            self._work.shutdown(wait=wait, cancel_futures=cancel_futures)
        finally:
            self.end()


def _is_urgent(error: BaseException | None) -> bool:
    """Whether somebody wants the program to end now, by Ctrl-C, SIGTERM or SIGHUP."""
    return isinstance(error, KeyboardInterrupt) or _interrupts.told_to_end()


def _in_background(function: Callable[[], None]) -> None:
    """Call ``function`` on a thread, which the interpreter waits for at its end."""
    try:
        threading.Thread(target=function, name="skyward-shutdown", daemon=False).start()
    except RuntimeError:  # the interpreter is shutting down and starts none any more
        function()
