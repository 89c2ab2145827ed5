"""A vendor's published limits, and when the next request may go out. Pure: it is told what time it is."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase

from attrs import field, frozen
from attrs.validators import ge, instance_of

from skyward.errors import ConfigurationError

__all__ = ["Pace", "Pacer", "pacer_of"]

SLACK = 0.1
"""Seconds by which a limit is stretched: two requests may take unequally long to arrive."""


@frozen
class Pace:
    """A published limit on requests of one kind.

        Pace("PUT", "/asks/*", interval=4.5)      # 4.5 s between two
        Pace("*", "*", times=250, seconds=60)     # 250 in any minute

    Attributes:
        method: of the requests that count, or ``"*"``.
        path: theirs below the endpoint, without a query; ``*`` stands for anything, slashes included.
        times: how many there may be within ``seconds``.
        seconds: that span.
        interval: seconds between two, which is the same as one within so many ``seconds``.

    Raises:
        ConfigurationError: neither a span nor an interval is given, or both are.
    """

    method: str = "*"
    path: str = "*"
    times: int = field(default=1, kw_only=True, validator=[instance_of(int), ge(1)])
    seconds: float = field(default=0.0, kw_only=True, validator=ge(0))
    interval: float = field(default=0.0, kw_only=True, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if (self.seconds > 0) == (self.interval > 0) or (self.interval > 0 and self.times != 1):
            raise ConfigurationError(f"{self} is no limit: give times and seconds, or an interval alone")

    @property
    def span(self) -> float:
        """Seconds within which ``times`` requests are allowed, with some to spare."""
        return (self.seconds or self.interval) + SLACK

    def holds_for(self, method: str, path: str) -> bool:
        """Whether a request counts."""
        return self.method in ("*", method) and fnmatchcase(path, self.path)


class Pacer:
    """Says how long a request has to wait. Several threads may ask.

    Args:
        paces: the limits, each of which holds by itself.
    """

    def __init__(self, paces: Sequence[Pace]) -> None:
        self._sent = [(pace, deque[float](maxlen=pace.times)) for pace in paces]
        self._held = [0.0 for _ in paces]
        self._lock = threading.Lock()

    def take(self, method: str, path: str, now: float) -> float:
        """Seconds to wait before asking anew; 0 when the request may go out, which then counts as sent ``now``.

        Who waits and is cancelled has taken nothing.
        """
        with self._lock:
            mine = [(index, *each) for index, each in enumerate(self._sent) if each[0].holds_for(method, path)]
            free = [sent[0] + pace.span for _, pace, sent in mine if len(sent) == pace.times]
            wait = max([*free, *(self._held[index] for index, _, _ in mine)], default=now) - now
            if wait > 0:
                return wait
            for _, _, sent in mine:
                sent.append(now)
            return 0.0

    def hold(self, method: str, path: str, until: float) -> None:
        """The vendor wants to be left alone: nothing that the same limits count goes out before."""
        with self._lock:
            for index, (pace, _) in enumerate(self._sent):
                if pace.holds_for(method, path):
                    self._held[index] = max(self._held[index], until)


_shared: dict[tuple[object, ...], Pacer] = {}
_sharing = threading.Lock()


def pacer_of(endpoint: str, paces: Sequence[Pace], clock: object) -> Pacer:
    """The pacer of a vendor's address, which all pools of this process share, since the vendor counts them as one."""
    if not paces:
        return Pacer(())
    with _sharing:
        return _shared.setdefault((endpoint, tuple(paces), clock), Pacer(paces))
