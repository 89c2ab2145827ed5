"""One machine of a fake cloud: when it was bought, how it ends, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define

from skyward.model.bootstrap import Step
from skyward.model.instance import InstanceState
from skyward.model.offer import Offer
from skyward.testing._clock import Alarm

if TYPE_CHECKING:
    from skyward.spi.provider import PoolIdentity
    from skyward.spi.transport import Transport, Wire

__all__ = ["TAKEN", "Body", "Record", "billed", "dollars", "due", "state_at"]

TAKEN = "the fake cloud takes its spot machine back"
"""The reason that is told before that."""
_MICRO = 1_000_000


class Body(Protocol):
    """What a machine consists of: processes on this one, or nothing but answers."""

    ip: str | None

    @property
    def keeps_lease(self) -> bool:
        """Whether its lease goes by the system's clock, so that the cloud's has no say in it."""
        ...

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        ...

    def road(self, identity: PoolIdentity, wire: Wire) -> Transport:
        """The way to it, once it runs."""
        ...

    def lookout(self) -> str | None:
        """What its session gives out as its ``lookout``."""
        ...

    def warn(self, seconds: float) -> None:
        """It comes to know that it will be taken back in so many seconds."""
        ...

    def end(self, why: str) -> None:
        """It is no more; whoever is connected comes to see that. Called once, and never waits."""
        ...

    async def remove(self) -> None:
        """Wait until nothing is left of it."""
        ...

    def clear(self) -> None:
        """The same at once, for the end of the cloud."""
        ...


@define(eq=False, kw_only=True)
class Record:
    """What the cloud knows of a machine. Moments are of its clock's ``monotonic()``; ``deadline`` is of its ``time()``.

    ``boots`` is when it runs (``None`` for never), ``heard`` when its client last said a word, ``notice`` when it will
    be preempted, and ``shown`` how often it was listed as running after its end. ``tag`` is what its tag tells of
    ``deadline``, at which it ends itself.
    """

    id: str
    node: int
    pool_id: str
    owner: str
    client: str
    offer: Offer
    address: str
    private_address: str
    created: float
    boots: float | None
    deadline: float | None
    tag: float | None
    lease: float | None
    body: Body
    heard: float | None = None
    notice: float | None = None
    ended: float | None = None
    why: str = ""
    shown: int = 0
    alarm: Alarm | None = None
    configuration: Mapping[str, Any] | None = None
    steps: Sequence[Step] = ()


def due(record: Record, epoch: float) -> tuple[float, str] | None:
    """When a machine ends without being told to, and why; ``None`` for never.

    ``epoch`` is what the clock's ``time()`` is ahead of its ``monotonic()``.
    """
    ends: list[tuple[float, str]] = []
    if record.deadline is not None:
        ends.append((round(record.deadline - epoch, 6), "deadline"))
    if record.notice is not None:
        ends.append((record.notice, "preempted"))
    if record.lease is not None and record.boots is not None and not record.body.keeps_lease:
        ends.append((max(record.boots, record.heard or 0.0) + record.lease, "lease"))
    moment, why = min(ends, default=(None, ""))
    return None if moment is None else (max(moment, record.created), why)


def state_at(record: Record, now: float) -> InstanceState:
    """Where it stands."""
    if record.ended is not None:
        return InstanceState.GONE
    return InstanceState.RUNNING if record.boots is not None and record.boots <= now else InstanceState.PENDING


def billed(record: Record, now: float) -> float:
    """Seconds that are to be paid: from its creation to its end or to now, in whole quanta, at least one.

    They are no fewer than the minimum of its offer.
    """
    end = now if record.ended is None else record.ended
    quantum = round(record.offer.billing_quantum * _MICRO)
    used = max(round(end * _MICRO) - round(record.created * _MICRO), round(record.offer.billing_minimum * _MICRO), 1)
    return -(-used // quantum) * quantum / _MICRO


def dollars(record: Record, now: float) -> Fraction:
    """What that costs, exactly. A price that is not known counts as the on-demand price, or as nothing."""
    price = record.offer.price if record.offer.price is not None else record.offer.on_demand_price
    return Fraction(str(price or 0.0)) * Fraction(round(billed(record, now) * _MICRO), 3600 * _MICRO)
