"""Stand-ins for ``sys.stdout`` and ``sys.stderr`` while a live display owns the terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from skyward._display.text import tame

__all__ = ["Redirect", "Redirection"]


class Redirect(io.TextIOBase):
    """Hands whole lines to ``show`` and keeps the unfinished one, as `partial`, for the live area.

    A carriage return starts the unfinished line anew, so that a progress bar of the program stays one line. After
    `release`, and in a forked child, text goes straight to ``real``.
    """

    def __init__(self, real: TextIO, show: Callable[[str], None]) -> None:
        super().__init__()
        self.real = real
        self._show = show
        self._pid = os.getpid()
        self._live = True
        self._lock = threading.RLock()
        self.partial = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def write(self, text: str, /) -> int:
        if not self._live or self._pid != os.getpid():
            return self.real.write(text)
        with self._lock:
            whole, end, rest = (self.partial + text).rpartition("\n")
            self.partial = _visible(rest) + ("\r" if rest.endswith("\r") else "")
        if end:
            self._show(tame("".join(f"{_visible(line)}\n" for line in whole.split("\n"))))
        return len(text)

    def flush(self) -> None:
        if not self._live or self._pid != os.getpid():
            self.real.flush()

    def isatty(self) -> bool:
        return self.real.isatty()

    def fileno(self) -> int:
        return self.real.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.real.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.real.errors

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """The real stream is not this one's to close."""

    def release(self) -> None:
        """From now on be transparent; write out the unfinished line."""
        with self._lock:
            self._live = False
            rest, self.partial = self.partial, ""
        if rest:
            self.real.write(rest)
            self.real.flush()


class Redirection:
    """Puts a `Redirect` in the place of each standard stream that shows on the terminal, and takes it away again.

    A stream that goes to a file or a pipe is left alone: its text must get there. Handlers of the root logger and of
    ``skyward`` that hold one of the streams are pointed at its stand-in too.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._streams: dict[str, Redirect] = {}
        self._handlers: list[tuple[logging.StreamHandler[Any], Redirect, TextIO]] = []

    @property
    def partial(self) -> str:
        """The unfinished lines of all streams."""
        return "".join(stream.partial for stream in self._streams.values())

    def begin(self) -> None:
        for name in ("stdout", "stderr"):
            real = getattr(sys, name)
            if real is None or isinstance(real, Redirect) or not _shows(real):
                continue
            stand_in = self._streams[name] = Redirect(real, self._show)
            setattr(sys, name, stand_in)
            for handler in (*logging.root.handlers, *logging.getLogger("skyward").handlers):
                if isinstance(handler, logging.StreamHandler) and handler.stream is real:
                    handler.setStream(stand_in)
                    self._handlers.append((handler, stand_in, real))

    def end(self) -> None:
        """Put the streams back, unless the program has put others there meanwhile."""
        for handler, stand_in, real in self._handlers:
            if handler.stream is stand_in:
                handler.setStream(real)
        for name, stand_in in self._streams.items():
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in.real)
            stand_in.release()
        self._handlers.clear()
        self._streams.clear()


def _visible(line: str) -> str:
    """What a terminal shows of a line that writes over itself."""
    return line.rstrip("\r").rpartition("\r")[2]


def _shows(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
