"""The program that looks out, beside the tasks, for the word that this machine will be taken back.

It is the provider's, and stands by itself: the supervisor writes it into the node's folder and has its own interpreter
run it, without any packages. Each line that it prints is an object of JSON: ``reason`` in words, and ``seconds`` until
the machine ends, or null where nobody knows. The first such line is what the client is told; one that comes back is
told again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Lookout"]

_FIRST = 0.25
"""Seconds until it is started: not while somebody waits for the node."""
_AGAIN = 5.0
"""Seconds after which one that has ended without a word is started again; doubled each time."""
_AT_MOST = 300.0
"""Of those."""
_LONGEST = 64 << 10
"""Bytes of a line; what is longer is nonsense."""


class Lookout:
    """Runs the program, and keeps what it has said.

    Args:
        selector: where its output is waited for; its data is what to call.
        tell: sends the notice to the client: why, and in how many seconds the machine ends (``None``: not known).
    """

    def __init__(self, selector: selectors.BaseSelector, tell: Callable[[tuple[str, float | None]], object]) -> None:
        self._selector = selector
        self._tell = tell
        self._program = ""
        self._path = ""
        self._output: int | None = None
        self._rest = b""
        self._pause = _AGAIN
        self._notice: tuple[str, float | None] | None = None  # why, and when the machine ends, by the monotonic clock
        self.start_at: float | None = None
        """When the program is to be started; ``None`` for not."""

    def begin(self, program: str | None, folder: str) -> None:
        """Have a program run, given as Python source; ``None`` for none. ``folder`` is where it is put."""
        if program is not None:
            self._program, self._path = program, os.path.join(folder, "lookout.py")
            self.start_at = time.monotonic() + _FIRST

    def on_time(self, now: float) -> None:
        """Start the program, if it is time to."""
        if self.start_at is None or now < self.start_at:
            return
        try:
            self._output = self._started()
        except OSError:  # no room, no memory: the tasks go on without it
            self._later()
            return
        self.start_at = None
        self._selector.register(self._output, selectors.EVENT_READ, self._read)

    def _started(self) -> int:
        """Start the program; what it prints can be read from the descriptor that this returns."""
        with open(self._path, "w", encoding="utf-8") as file:
            file.write(self._program)
        read, write = os.pipe()
        os.set_blocking(read, False)
        command = [sys.executable, "-I", "-S", self._path]
        try:
            os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        return read

    def _later(self) -> None:
        self.start_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _AT_MOST)

    def _read(self) -> None:
        assert self._output is not None
        try:
            data = os.read(self._output, _LONGEST)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._said(line)
        if not data or len(self._rest) > _LONGEST:
            self._ended()

    def _said(self, line: bytes) -> None:
        notice = _understood(line)
        if notice is not None and self._notice is None:
            reason, seconds = notice
            self._notice = (reason, None if seconds is None else time.monotonic() + seconds)
            self.tell_again()

    def _ended(self) -> None:
        """It says no more: another one takes its place, unless all has been said. The process itself is reaped."""
        assert self._output is not None
        self._selector.unregister(self._output)
        self.close_inherited()
        self._rest = b""
        if self._notice is None:
            self._later()

    def tell_again(self) -> None:
        """Tell the client what is known, if anything is."""
        if self._notice is not None:
            reason, end = self._notice
            self._tell((reason, None if end is None else max(end - time.monotonic(), 0.0)))

    def close_inherited(self) -> None:
        """Let go of the pipe; in a forked slot, too, to which it does not belong."""
        if self._output is not None:
            with contextlib.suppress(OSError):
                os.close(self._output)
            self._output = None


def _understood(line: bytes) -> tuple[str, float | None] | None:
    """What a line says, or ``None`` for nothing."""
    try:
        said: Any = json.loads(line)
        reason, seconds = said["reason"], said.get("seconds")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    return (reason, float(seconds) if known else None) if isinstance(reason, str) and reason else None
