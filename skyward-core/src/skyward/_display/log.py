"""The display ``log``: a line for each event through the logger ``skyward``."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TextIO

from skyward._display.lines import level, line
from skyward._display.text import encodable
from skyward.model.events import EVENTS, SkywardEvent

__all__ = ["LogDisplay", "write_line"]

_logger = logging.getLogger("skyward")


def write_line(stream: TextIO | None, text: str) -> None:
    """Write a line to ``stream``, or to what is ``sys.stderr`` now; what cannot be encoded or written is let go."""
    target = sys.stderr if stream is None else stream
    if target is None:
        return
    try:
        try:
            target.write(text + "\n")
        except UnicodeEncodeError:
            target.write(encodable(text, getattr(target, "encoding", None)) + "\n")
        target.flush()
    except (OSError, ValueError):  # a closed pipe or file: showing what happens must not stop what happens
        return


class _PlainHandler(logging.Handler):
    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        write_line(self._stream, self.format(record))


class _Attachment:
    """A handler for the life of all displays together, where the program has set up none, and the level INFO."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._handler: logging.Handler | None = None
        self._levelled = False

    def join(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            if not _has_handler():
                self._handler = _PlainHandler(None)
                _logger.addHandler(self._handler)
            if _logger.level == logging.NOTSET:
                _logger.setLevel(logging.INFO)
                self._levelled = True

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            if self._handler is not None:
                _logger.removeHandler(self._handler)
                self._handler = None
            if self._levelled:
                self._levelled = False
                if _logger.level == logging.INFO:
                    _logger.setLevel(logging.NOTSET)


_attachment = _Attachment()


def _has_handler() -> bool:
    current: logging.Logger | None = _logger
    while current is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in current.handlers):
            return True
        current = current.parent if current.propagate else None
    return False


class LogDisplay:
    """Tells events to the logger ``skyward``, most at INFO.

    From `start` to `stop` that logger has the level INFO unless the program has set one, and, where neither it nor
    the root logger has a handler, one that writes plain lines to stderr. ``stream`` adds a handler that writes there.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._extra = None if stream is None else _PlainHandler(stream)
        self._started = False

    @property
    def types(self) -> tuple[type[SkywardEvent], ...]:
        """The event classes that are loud enough to be seen while it is started."""
        least = max(_logger.level or logging.INFO, logging.root.manager.disable + 1)
        return tuple(kind for kind in EVENTS if level(kind) >= least)

    def start(self) -> None:
        if not self._started:
            self._started = True
            if self._extra is not None:
                _logger.addHandler(self._extra)
            _attachment.join()

    def callback(self, event: SkywardEvent) -> None:
        loudness = level(type(event))
        if _logger.isEnabledFor(loudness):
            _logger.log(loudness, line(event))

    def stop(self) -> None:
        if self._started:
            self._started = False
            _attachment.leave()
            if self._extra is not None:
                _logger.removeHandler(self._extra)
