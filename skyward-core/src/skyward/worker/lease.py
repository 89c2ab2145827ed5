"""How long a node goes on without a word from its client."""

from __future__ import annotations

__all__ = ["Lease"]

_LOOK = 1.0
"""Seconds between looks at the clock."""
_STOOD_STILL = 5.0
"""Seconds without a look after which the node has not been slow but stood still."""


class Lease:
    """The client's last word, and how long it holds. All times are in seconds of one monotonic clock.

    Time in which the node itself stood still does not count, such as that of a container which was paused or of a
    process which was stopped: what its client said meanwhile may still be on its way.

    Args:
        seconds: without a word after which the node is to end; ``None`` for no lease.
        now: the time at which the client is known to be there.
    """

    def __init__(self, seconds: float | None, now: float) -> None:
        self.seconds = seconds
        self._heard = self._looked = now

    def renew(self, now: float) -> None:
        """The client has said a word."""
        self._heard = now

    def look(self, now: float) -> None:
        """The node is not standing still. To be said whenever it has waited, and at `next_look` at the latest."""
        stood_still = now - self._looked
        if stood_still >= _STOOD_STILL:
            self._heard += stood_still
        self._looked = now

    def next_look(self) -> float | None:
        """When to look again at the latest; ``None`` where that is of no matter."""
        return None if self.seconds is None else min(self._looked + _LOOK, self._heard + self.seconds)

    def is_over(self, now: float) -> bool:
        """Whether the client has said nothing for too long."""
        return self.seconds is not None and now >= self._heard + self.seconds
