"""Cut a stream of bytes into lines, whatever the chunks in which it comes."""

from __future__ import annotations

import re

MAX_LINE = 64 * 1024
"""Bytes of one line; a longer one is delivered in pieces of at most that, cut between characters."""

_ENDS = re.compile(rb"\r\n|\n|\r")

_CURSOR = re.compile(rb"(?:\x1b\[\d*[A-DJK]|\s)*")
"""Cursor movements and blanks: what a progress bar writes around its text."""

_ESCAPE = b"\x1b"


class LineSplitter:
    r"""Bytes in, lines out, as text without line ends.

    ``\n`` and ``\r\n`` end a line. A lone ``\r``, with which progress bars write over themselves, ends one too, but
    only if something visible stands in it; cursor movements alone are no line. Bytes that are not UTF-8 are shown as
    ``\xff``. How the bytes are divided among calls of ``feed`` makes no difference. Not safe for several threads at
    once.
    """

    __slots__ = ("_dropped", "_limit", "_line", "_returned", "_rewritten", "_shown")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = max(8, limit)
        self._line = bytearray()
        self._rewritten = False  # the line began after a \r: it is a refresh
        self._shown = False  # refresh() gave out the line already, its end is still to come
        self._returned = False  # the last byte was a \r
        self._dropped: bytes | None = None  # the blank line that this \r dropped: it counts if a \n is next

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._line)

    def feed(self, data: bytes | bytearray | memoryview) -> list[str]:
        """The lines that ``data`` completes."""
        data = bytes(data)
        lines: list[str] = []
        if not data:
            return lines
        start = 0
        if self._returned:
            self._returned = False
            if data.startswith(b"\n"):
                start = 1
                self._rewritten = False
                if self._dropped is not None and _ESCAPE not in self._dropped:
                    lines.append(_text(self._dropped))
        if b"\r" not in data:
            *whole, rest = data[start:].split(b"\n")
            for line in whole:
                self._append(line, lines)
                self._end(lines)
            self._append(rest, lines)
            return lines
        for end in _ENDS.finditer(data, start):
            self._append(data[start : end.start()], lines)
            start = end.end()
            if end.group() == b"\r":
                self._return(last=start == len(data), lines=lines)
            else:
                self._end(lines)
        self._append(data[start:], lines)
        return lines

    def refresh(self) -> list[str]:
        """The unfinished line, if it rewrites the one before it: a progress bar that was flushed.

        It counts as given out; a line end that follows adds nothing. Any other unfinished line waits for its end.
        """
        if not self._rewritten or _CURSOR.fullmatch(self._line):
            return []
        line = self._take()
        self._shown = True
        return [line]

    def flush(self) -> list[str]:
        """The unfinished line, if there is one; the next byte begins a new line."""
        lines = [self._take()] if self._line and not (self._rewritten and _CURSOR.fullmatch(self._line)) else []
        self._line.clear()
        self._rewritten = self._shown = False
        self._returned = False
        return lines

    def _append(self, data: bytes, lines: list[str]) -> None:
        self._line += data
        if len(self._line) <= self._limit:
            return
        held = bytes(self._line)
        start = 0
        while len(held) - start > self._limit:
            cut = start + self._limit
            # A byte 10xxxxxx continues a character; UTF-8 has at most three of them in a row.
            for back in range(4):
                if held[cut - back] & 0xC0 != 0x80:
                    cut -= back
                    break
            lines.append(_text(held[start:cut]))
            start = cut
        self._line[:] = held[start:]

    def _end(self, lines: list[str]) -> None:
        if _ESCAPE in self._line and _CURSOR.fullmatch(self._line):
            self._line.clear()
        elif self._line or not self._shown:
            lines.append(self._take())
        self._rewritten = self._shown = False

    def _return(self, *, last: bool, lines: list[str]) -> None:
        self._returned = last
        self._dropped = None
        if self._line and not _CURSOR.fullmatch(self._line):
            lines.append(self._take())
        elif self._line or not self._shown:
            self._dropped = bytes(self._line)
            self._line.clear()
        self._rewritten = True
        self._shown = False

    def _take(self) -> str:
        line = _text(self._line)
        self._line.clear()
        return line


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "backslashreplace")
