"""What machines cost: pure bookkeeping over a clock that is given.

Sums are exact. Inside, prices are whole nano-dollars for an hour and times whole microseconds, and a cost is rounded
once, to a millionth of a dollar, when it is handed out. Adding up thousands of machines therefore never drifts by a
cent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from attrs import define, frozen

from skyward.errors import ConfigurationError
from skyward.model.events import CostFinal, CostUpdate

__all__ = ["HOUR", "MICRO", "NANO", "CostMeter", "Tariff", "dollars"]

NANO = 1_000_000_000
MICRO = 1_000_000
HOUR = 3600 * MICRO
"""Nano-dollars of a dollar, and microseconds of a second and of an hour."""


@frozen
class Tariff:
    """What a machine costs.

    Attributes:
        paid: nano-dollars for an hour.
        on_demand: the same, as it would be on demand.
        quantum: microseconds that are billed at once.
        minimum: microseconds that are billed at least.
        spot: whether it is a spot machine.
    """

    paid: int
    on_demand: int
    quantum: int
    minimum: int
    spot: bool

    @classmethod
    def of(
        cls, on_demand: float | None, spot_price: float | None, *, spot: bool, quantum: float, minimum: float = 0.0
    ) -> Tariff:
        """Of prices in US dollars for an hour and of seconds, as `CostMeter.start` has them.

        Raises:
            ConfigurationError: as of `CostMeter.start`.
        """
        for name, value in (("on_demand", on_demand), ("spot_price", spot_price)):
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigurationError(
                    f"{name} is {value!r}: give dollars for an hour, 0 or more, or None if unknown"
                )
        if not 1 / MICRO <= quantum < float("inf"):
            raise ConfigurationError(
                f"quantum is {quantum!r}: give the seconds that are billed at once, such as 1 or 3600"
            )
        if not 0 <= minimum < float("inf"):
            raise ConfigurationError(f"minimum is {minimum!r}: give the seconds that are billed at least, such as 60")
        dear = on_demand if on_demand is not None else spot_price
        paid = (spot_price if spot_price is not None else on_demand) if spot else dear
        return cls(
            paid=round((paid or 0.0) * NANO),
            on_demand=round((dear or 0.0) * NANO),
            quantum=round(quantum * MICRO),
            minimum=round(minimum * MICRO),
            spot=spot,
        )

    def billed(self, used: int) -> int:
        """Microseconds to be paid for so many of use: at least the minimum, in whole quanta, at least one of these."""
        quanta = -(-max(used, self.minimum) // self.quantum)
        return max(quanta, 1) * self.quantum


@define
class _Span:
    tariff: Tariff
    started: int
    ended: int | None = None

    def billed(self, now: int) -> int:
        """Microseconds to be paid for the time up to ``now`` or the end."""
        return self.tariff.billed((now if self.ended is None else self.ended) - self.started)


class CostMeter:
    """Adds up what the machines of one pool cost.

    ``clock`` gives seconds from any origin, rising; `time.monotonic` by default. The meter is for one thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Span] = {}
        self._rate = 0  # nano-dollars for an hour, of those that run
        self._ended: list[_Span] = []
        self._now = round(clock() * MICRO)
        self._first: int | None = None
        self._last = 0
        self._peak = 0

    def start(
        self,
        instance_id: str,
        *,
        on_demand: float | None = None,
        spot_price: float | None = None,
        spot: bool = False,
        quantum: float = 1.0,
        minimum: float = 0.0,
    ) -> None:
        """Count a machine from now on. One that is running already is left as it is.

        Prices are US dollars for an hour. ``spot`` says which of the two is paid; where that one is not known, the
        other stands in for it, and where neither is, the machine counts as free. Time is charged in steps of
        ``quantum`` seconds, the first one even for a machine that ends at once, and for ``minimum`` seconds at least.
        Raises ConfigurationError for a negative price or minimum, or a quantum that is not positive.
        """
        tariff = Tariff.of(on_demand, spot_price, spot=spot, quantum=quantum, minimum=minimum)
        if instance_id in self._running:
            return
        now = self._tick()
        if self._first is None:
            self._first = now
        self._running[instance_id] = _Span(tariff, now)
        self._rate += tariff.paid
        self._peak = max(self._peak, self._rate)

    def stop(self, instance_id: str) -> None:
        """Count a machine no longer. One that does not run, or is not known, is left as it is."""
        span = self._running.pop(instance_id, None)
        if span is not None:
            span.ended = self._last = self._tick()
            self._ended.append(span)
            self._rate -= span.tariff.paid

    def update(self) -> CostUpdate:
        """What it comes to if everything ended now; the counts and the rate are of the machines that run."""
        now = self._tick()
        spot = sum(span.tariff.spot for span in self._running.values())
        return CostUpdate(
            elapsed_seconds=self._seconds(now),
            accumulated_cost=dollars(sum(span.tariff.paid * span.billed(now) for span in self._spans())),
            hourly_rate=self._rate / NANO,
            spot_count=spot,
            ondemand_count=len(self._running) - spot,
        )

    def final(self) -> CostFinal:
        """The bill. A machine that still runs is charged up to now.

        ``savings_vs_ondemand`` is what the same time would have cost on demand less what was paid; it is negative
        where spot was the dearer one.
        """
        now = self._tick()
        spans = list(self._spans())
        spot = sum(span.tariff.spot for span in spans)
        paid = sum(span.tariff.paid * span.billed(now) for span in spans)
        on_demand = sum(span.tariff.on_demand * span.billed(now) for span in spans)
        return CostFinal(
            total_cost=dollars(paid),
            total_seconds=self._seconds(now if self._running else self._last),
            hourly_rate=self._peak / NANO,
            spot_count=spot,
            ondemand_count=len(spans) - spot,
            savings_vs_ondemand=dollars(on_demand - paid),
        )

    def _tick(self) -> int:
        """Microseconds by the clock; one that is set back stands still."""
        self._now = max(self._now, round(self._clock() * MICRO))
        return self._now

    def _seconds(self, now: int) -> float:
        return 0.0 if self._first is None else (now - self._first) / MICRO

    def _spans(self) -> Iterator[_Span]:
        yield from self._ended
        yield from self._running.values()


def dollars(amount: int) -> float:
    """Dollars from nano-dollars for an hour times microseconds, to a millionth, half of one rounded up."""
    unit = HOUR * NANO // MICRO
    return (2 * amount + unit) // (2 * unit) / MICRO
