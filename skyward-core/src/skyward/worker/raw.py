"""What a slot writes past Python: by C code, by subprocesses, by a crash. Its supervisor reads it from two pipes.

The supervisor forwards it as it comes. So that it stands before the task's result, the slot asks for the rest when a
task has ended; that costs a look at the pipes, and a moment only if something is in them.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

from skyward.worker.lines import LineSplitter

if TYPE_CHECKING:
    from skyward.worker.page import Page

__all__ = ["FLUSH", "Output", "RawEnd"]

FLUSH = signal.SIGUSR1
"""Wakes the supervisor when a slot waits for its raw output to be forwarded."""
_REST = 1 << 20
"""Bytes that are read at once of what is left; a process that was left behind may write on and on."""
_PATIENCE = 2.0
"""Seconds that a slot waits for its supervisor, which may be held up by its client or by other programs."""


class Output:
    """The supervisor's end of the pipe behind a slot's descriptor 1 or 2."""

    def __init__(self, descriptor: int, stream: str) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.stream = stream
        self._lines = LineSplitter()

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._lines.pending

    def read(self) -> tuple[list[str], bool, int]:
        """Lines that have come, whether more may come, and the number of bytes read (0 when nothing is there)."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return [], True, 0
        return (self._lines.feed(data), True, len(data)) if data else (self._lines.flush(), False, 0)

    def rest(self) -> list[str]:
        """What is there, whole lines or not."""
        lines: list[str] = []
        left = _REST
        while left > 0:
            found, more, count = self.read()
            lines += found
            left -= count
            if not more or not count:
                break
        return lines + self._lines.flush()

    def close(self) -> None:
        """Close this end."""
        os.close(self.descriptor)


class RawEnd:
    """A slot's view of its two pipes.

    Args:
        page: memory shared with the supervisor.
        supervisor: its process.
        descriptors: the reading ends of the pipes, which are only looked at here.
    """

    def __init__(self, page: Page, supervisor: int, descriptors: list[int]) -> None:
        self._page = page
        self._supervisor = supervisor
        self._poll = select.poll()
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)

    def settle(self) -> None:
        """Wait until the supervisor has forwarded what was written."""
        page = self._page
        # The pipes first: what was taken out of them before this look has made the page say so before that.
        if not (self._poll.poll(0) or page.raw):
            return
        page.flush = True
        os.kill(self._supervisor, FLUSH)
        until = time.monotonic() + _PATIENCE
        while page.flush and time.monotonic() < until:
            time.sleep(0.00005)
