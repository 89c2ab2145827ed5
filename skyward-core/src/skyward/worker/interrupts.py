"""Cancelling the task in a slot: SIGINT becomes ``KeyboardInterrupt`` in the task that was cancelled, and only there.

The supervisor writes the task's sequence into the page and sends the signal. A signal that comes late, when that task
has ended, is ignored; one that comes while the slot writes a frame waits until the frame is whole.
"""

from __future__ import annotations

import signal
import threading

# As the signal module wraps them, they turn every number into an enum, which costs more than all else after a task.
from _signal import getsignal, pthread_sigmask  # type: ignore[import-not-found]  # typeshed does not know it
from types import FrameType, TracebackType

from skyward.worker.page import Page

__all__ = ["Interrupts", "armed"]

_SIGINT = frozenset({signal.SIGINT})

armed: Interrupts | None = None
"""Those of this process's slot; ``None`` in a process that is none."""


class Interrupts:
    """Decides when a cancellation may interrupt the main thread.

    As a context manager it shields what runs inside: an interrupt that comes there is raised at the end of it.
    """

    __slots__ = ("_delivered", "_depth", "_handler", "_main", "_page", "_pending")

    def __init__(self, page: Page) -> None:
        self._page = page
        self._main = threading.get_ident()
        self._depth = 1  # open only inside `open()` ... `shut()`
        self._pending = False
        self._delivered = 0
        self._handler = self._handle

    def arm(self) -> None:
        """Install the handler again, since a task may have put its own in place."""
        global armed
        armed = self
        if getsignal(signal.SIGINT) is not self._handler:
            signal.signal(signal.SIGINT, self._handler)

    def unblock(self) -> None:
        """Let the signal in again, since a task may have blocked it: before the next task, with the handler armed."""
        pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)

    def is_cancelled(self, sequence: int) -> bool:
        """Whether the client has cancelled this task."""
        return self._page.cancelled == sequence

    def open(self, sequence: int) -> None:
        """User code begins: interrupts may be raised from here on.

        Raises:
            KeyboardInterrupt: the task was cancelled before it began.
        """
        self._pending = False  # what came too late for the task before
        self._depth = 0
        if self._page.cancelled == sequence and self._delivered != sequence:
            self._delivered = sequence
            raise KeyboardInterrupt

    def shut(self) -> None:
        """User code has ended: an interrupt that is still to come has come too late. May be called twice."""
        self._depth = 1

    def hold(self) -> None:
        """Raise no interrupt any more until the next task; on another thread than the one of tasks, do nothing."""
        if threading.get_ident() == self._main:
            self._depth += 1

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        running = self._page.running
        if not running or self._page.cancelled != running or self._delivered == running:
            return
        if self._depth:
            self._pending = True
            return
        self._delivered = running
        raise KeyboardInterrupt

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.get_ident() != self._main:
            return
        self._depth -= 1
        if self._pending and self._depth == 0:
            self._pending = False
            running = self._page.running
            if self._page.cancelled == running and self._delivered != running:
                self._delivered = running
                raise KeyboardInterrupt
