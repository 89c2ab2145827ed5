"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable

from skyward.errors import ConfigurationError

__all__ = ["Alarm", "VirtualClock"]


class Alarm:
    """Something that is to be done at a moment of a `VirtualClock`."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        """Do not do it."""
        self.cancelled = True


class VirtualClock:
    """Time that passes only when a test says so. It may be read and moved by any thread.

    It begins at 0 seconds and, as seconds since the epoch, at the present whole second, so that a deadline that was
    reckoned by the system's clock lies about where it belongs.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._epoch = math.floor(time.time())  # whole, so that adding to it costs no fraction of a second its exactness
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._count = itertools.count()
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._now

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once. What is due meanwhile is done on the way, each thing at its own moment.

        Raises:
            ConfigurationError: ``seconds`` is negative, infinite or no number.
        """
        if not 0 <= seconds < math.inf:
            raise ConfigurationError(f"the clock cannot advance by {seconds!r}: give seconds, 0 or more")
        self.advance_to(self._now + seconds)

    def advance_to(self, moment: float) -> None:
        """Let time pass until ``monotonic()`` is ``moment``; nothing, if it has been so far already."""
        while self.step(moment) < moment:
            pass

    def step(self, limit: float) -> float:
        """Let time pass until something is due, or until ``limit``; do what is due, and return the time then.

        ``limit`` may be infinite if something is due some time.
        """
        with self._lock:
            self._forget_cancelled()
            due = self._alarms[0][0] if self._alarms else math.inf
            moment = min(due, limit)
            if moment < math.inf:
                self._now = max(self._now, moment)
            actions: list[Alarm] = []
            while self._alarms and self._alarms[0][0] <= self._now:
                actions.append(heapq.heappop(self._alarms)[2])
        for alarm in actions:
            if not alarm.cancelled:
                alarm.action()
        return self._now

    def call_at(self, moment: float, action: Callable[[], object]) -> Alarm:
        """Have ``action`` called when ``monotonic()`` reaches ``moment``, on the thread that moves the clock then."""
        alarm = Alarm(action)
        with self._lock:
            heapq.heappush(self._alarms, (moment, next(self._count), alarm))
        return alarm

    @property
    def next_alarm(self) -> float | None:
        """When something is due next; ``None`` when nothing is."""
        with self._lock:
            self._forget_cancelled()
            return self._alarms[0][0] if self._alarms else None

    def _forget_cancelled(self) -> None:
        while self._alarms and self._alarms[0][2].cancelled:
            heapq.heappop(self._alarms)
