"""How long functions run: whether a task of one may be sent ahead to a busy slot."""

from __future__ import annotations

__all__ = ["Pace"]

_BRIEF = 0.02
"""Seconds. Only a function that has run for less than this on average is sent ahead to a busy slot: for a longer one
the network's delay between two tasks is no matter, while waiting behind it would be, and it could not be withdrawn."""
_KEPT = 1024
"""Functions whose pace is known; the one that was met first is forgotten first."""


class Pace:
    """The seconds that each function takes, by its digest; an average in which the last runs count most."""

    def __init__(self) -> None:
        self._seconds: dict[bytes, float] = {}

    def is_brief(self, function: bytes) -> bool:
        """Whether a function is known to be so quick that its task may wait behind another one."""
        return self._seconds.get(function, _BRIEF) < _BRIEF

    def learn(self, function: bytes, seconds: float) -> None:
        """A task of a function has ended, and took so long."""
        known = self._seconds.get(function)
        self._seconds[function] = seconds if known is None else 0.8 * known + 0.2 * seconds
        if len(self._seconds) > _KEPT:  # functions that a program defines afresh again and again
            self._seconds.pop(next(iter(self._seconds)))
