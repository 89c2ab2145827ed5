"""Time as a client of a vendor reckons with it: pauses by the clock in use, and what ``Retry-After`` means."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from skyward import _clock
from skyward._asking import as_asked
from skyward.errors import Transient

__all__ = ["Waits", "retry_after"]

_FIRST, _LONGEST, _JITTER = 0.5, 8.0, 0.5
_FAR = 7 * 86400.0


class Waits:
    """Pauses by the clock that is in use when this is made.

    A clock with a coroutine function ``sleep`` decides itself how long a pause takes; with any other one, the event
    loop does.
    """

    def __init__(self, clock: _clock.Clock | None = None) -> None:
        self.clock = _clock.current() if clock is None else clock
        self.sleep: Callable[[float], Awaitable[None]] = getattr(self.clock, "sleep", asyncio.sleep)

    def now(self) -> float:
        """Seconds from some moment."""
        return self.clock.monotonic()

    async def persistently[T](self, call: Callable[[], Awaitable[T]], patience: float) -> T:
        """Call until it does not raise `Transient`, as long as its pause ends within ``patience`` seconds from now.

        A pause is ``Transient.retry_after``, or else grows from half a second to eight.
        """
        end = self.now() + patience
        growing = wait_exponential(multiplier=_FIRST, max=_LONGEST) + wait_random(0, _JITTER)

        async def attempt() -> T:
            return await call()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=lambda state: self.now() + state.upcoming_sleep > end,
            wait=as_asked(growing),
            reraise=True,
            sleep=self.sleep,
        )
        return await retrying(attempt)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a vendor asks to be left alone; ``None`` where it does not say, or nothing that makes sense.

    Args:
        headers: of the answer, by their names in lower case. ``Retry-After`` has seconds, or a date.
        now: seconds since the epoch, as the client's clock has it. The vendor's own ``Date`` goes before, so that a
            clock that is wrong does no harm.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = _moment(text)
        if moment is None:
            return None
        date = _moment(headers.get("date", ""))
        seconds = moment - (now if date is None else date)
    return min(max(seconds, 0.0), _FAR) if math.isfinite(seconds) else None


def _moment(text: str) -> float | None:
    """A date of HTTP in seconds since the epoch."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
