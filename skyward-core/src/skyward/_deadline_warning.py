"""What the user is told of the moment at which a pool's machines end themselves: at the start, and before it comes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from skyward.model.events import TimeoutApproaching

if TYPE_CHECKING:
    from skyward._clock import Clock
    from skyward._events import EventBus
    from skyward._options import PoolOptions
    from skyward._road import Road

__all__ = ["DeadlineWarning"]

_log = logging.getLogger("skyward.pool")

_BEFORE = 300.0
"""Seconds before the machines end themselves at which a warning event comes."""


class DeadlineWarning:
    """Says the moment when it is made, and warns once before it; again after an extension.

    Args:
        road: knows the moment.
        options: the pool's.
        clock: the pool's.
        events: where the warning goes.
    """

    def __init__(self, road: Road, options: PoolOptions, clock: Clock, events: EventBus) -> None:
        self._road = road
        self._clock = clock
        self._events = events
        self._warned = False
        self._life = 0.0
        deadline = road.deadline
        if deadline is not None:
            self._life = deadline - clock.time()
            value = options.limits.budget if road.limit == "budget" else options.spec.timeout
            moment = time.strftime("%H:%M:%S", time.localtime(deadline))
            _log.info("the machines end themselves at %s (%s=%g)", moment, road.limit, value or 0)

    def extended(self, seconds: float) -> None:
        """The moment is so many seconds from now."""
        self._life = seconds
        self._warned = False

    def look(self) -> None:
        """Warn if it is time to."""
        deadline = self._road.deadline
        if deadline is None or self._warned:
            return
        left = deadline - self._clock.time()
        if left <= min(_BEFORE, self._life / 2):
            self._warned = True
            self._events.emit(TimeoutApproaching(left, deadline, self._road.limit))
