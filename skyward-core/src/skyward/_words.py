"""The last words of a process: what it wrote to standard error past Python, such as the report of a crash."""

from __future__ import annotations

from collections import deque

__all__ = ["LastWords"]

_LINES = 30
"""Lines that are kept, enough for the report of Python's faulthandler and what native code says before it."""
_LONGEST = 300
"""Characters that are kept of a line."""
_LEFT_OUT = "Extension modules: "
"""How the line of a crash's report begins that lists all compiled modules, and says nothing of the cause."""


class LastWords:
    """What one slot has written last, each line with the task that ran."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_LINES)

    def keep(self, task: int, line: str) -> None:
        """A line of standard error has come."""
        if line.strip() and not line.startswith(_LEFT_OUT):
            self._lines.append((task, line[:_LONGEST].rstrip()))

    def of(self, task: int) -> list[str]:
        """What was written while a task ran."""
        return [line for number, line in self._lines if number == task]
