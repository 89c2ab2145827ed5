"""How many calls are sent as one batch. Pure: what batches took goes in, a number comes out.

joblib's own rule looks at the time from the dispatch of a batch to its result. Here that is mostly the network and the
queue, so the rule looks at the slots instead: how long a batch ran there, and how long its slot had nothing to do
before it.
"""

from __future__ import annotations

from attrs import evolve, field, frozen
from attrs.validators import ge

__all__ = ["Pace"]

_WORTH = 10.0
"""A batch shall run for as many times what lies between two batches on a slot, which costs a tenth then,"""
_SHORTEST, _LONGEST = 0.1, 1.0
"""and for so many seconds at least and at most: who divides work among slots wants to have small change at the end."""
_GROWTH = 4
"""A batch is as many times as large as the one before, at most: the first calls may have been quick by chance."""
_TOO_LONG = 2.0
"""Batches are made smaller once they run for as many times what they shall; a little too long changes nothing."""
_FADING = 0.7
"""What counts of the batches before the latest one."""
_NOISE = 0.01
"""Seconds by which pauses differ for reasons of their own, such as threads that take turns on the client."""
_LEAST = 1e-7
"""Seconds that a call takes at least, for what no clock can tell."""


@frozen
class Pace:
    """What is known of the batches of one ``Parallel`` call.

    Args:
        size: calls in a batch.
        calls: how many calls there were, where those of long ago count less.
        seconds: what they took together, their way to the slot included.
        pause: the shortest time, in seconds, that a slot had nothing to do between two batches; 0 where nothing is
            known. It is what a batch costs however small it is: the network's delay, for the most part.
    """

    size: int = field(default=1, validator=ge(1))
    calls: float = field(default=0.0, validator=ge(0))
    seconds: float = field(default=0.0, validator=ge(0))
    pause: float = field(default=0.0, validator=ge(0))

    @property
    def call(self) -> float:
        """Seconds that a call takes on average; 0 where nothing is known."""
        return max(self.seconds / self.calls, _LEAST) if self.calls else 0.0

    @property
    def ideal(self) -> float:
        """Seconds that a batch should take."""
        return min(max(_SHORTEST, _WORTH * self.pause), _LONGEST)

    def after(self, calls: int, seconds: float, pause: float | None) -> Pace:
        """A batch of so many calls took so many seconds, after a pause of its slot, if it was not its first one."""
        shortest = self.pause
        if pause is not None:
            shortest = min(self.pause or pause, pause)
            # What a pause is longer than the shortest one went into the transfer of this batch, or the iterator that
            # the calls come from is slow. Both grow with the size of the batch, and so count as its calls' own.
            seconds += max(0.0, pause - shortest - _NOISE)
        return evolve(
            self, calls=_FADING * self.calls + calls, seconds=_FADING * self.seconds + seconds, pause=shortest
        )

    def next(self) -> Pace:
        """With the size of the next batch."""
        if not self.calls:
            return self
        wanted = max(1, int(self.ideal / self.call))
        if wanted >= 2 * self.size:
            return evolve(self, size=min(wanted, _GROWTH * self.size))
        if self.size > 1 and self.size * self.call > _TOO_LONG * self.ideal:
            return evolve(self, size=min(wanted, self.size))
        return self
