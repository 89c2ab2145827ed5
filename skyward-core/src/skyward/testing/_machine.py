"""``FakeMachine``: what a test sees of one machine of a fake cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skyward.model.instance import InstanceState
from skyward.testing._record import Record, billed, dollars, state_at

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step
    from skyward.model.offer import Offer
    from skyward.testing._backend import Backend

__all__ = ["FakeMachine"]


class FakeMachine:
    """One machine that a `FakeCloud` has sold, as it is at the moment at which it is asked.

    Moments are seconds of the cloud's clock, as of ``clock.monotonic()``.
    """

    def __init__(self, backend: Backend, record: Record) -> None:
        self._backend = backend
        self._record = record

    @property
    def id(self) -> str:
        """The provider's identifier: ``"i-0"`` is the cloud's first machine."""
        return self._record.id

    @property
    def node(self) -> int:
        """Its index in the pool that bought it."""
        return self._record.node

    @property
    def pool_id(self) -> str:
        """The tag that says which pool bought it."""
        return self._record.pool_id

    @property
    def owner(self) -> str:
        """The tag that says who did, as ``user@host``."""
        return self._record.owner

    @property
    def offer(self) -> Offer:
        """What it was bought as."""
        return self._record.offer

    @property
    def state(self) -> InstanceState:
        """``PENDING`` while it boots, ``RUNNING``, or ``GONE`` once it has ended."""
        self._backend.expire()
        return state_at(self._record, self._backend.clock.monotonic())

    @property
    def alive(self) -> bool:
        """Whether it costs money: it does from its creation to its end."""
        return self.state is not InstanceState.GONE

    @property
    def created(self) -> float:
        """When it was bought."""
        return self._record.created

    @property
    def ended(self) -> float | None:
        """When it ended; ``None`` while it is alive."""
        self._backend.expire()
        return self._record.ended

    @property
    def why(self) -> str:
        """How it ended.

        ``"terminated"`` by its provider's API, ``"deadline"`` and ``"lease"`` by itself, ``"preempted"``, ``"lost"``,
        ``"ended by itself"`` where its processes have, and ``"closed"`` together with the cloud; empty while it is
        alive.
        """
        self._backend.expire()
        return self._record.why

    @property
    def deadline(self) -> float | None:
        """When it ends itself, in seconds since the epoch by the cloud's clock; ``None`` for never."""
        return self._record.deadline

    @property
    def lease(self) -> float | None:
        """Seconds without a word from its client after which it ends itself; ``None`` for no lease."""
        return self._record.lease

    @property
    def configuration(self) -> Mapping[str, Any] | None:
        """What its client has told it: ``"cluster"``, ``"environment"``, ``"slots"`` and more; ``None`` before that."""
        return self._record.configuration

    @property
    def steps(self) -> Sequence[Step]:
        """The bootstrap steps that plugins have added for it; none for local nodes, which run none."""
        return self._record.steps

    def billed(self) -> float:
        """Seconds to be paid: from creation to end, or to now, in whole quanta, and at least its offer's minimum."""
        self._backend.expire()
        return billed(self._record, self._backend.clock.monotonic())

    def cost(self) -> float:
        """Dollars to be paid for that, to a millionth."""
        self._backend.expire()
        return round(float(dollars(self._record, self._backend.clock.monotonic())), 6)

    def __repr__(self) -> str:
        return f"FakeMachine({self.id}, node={self.node}, {self.offer.market}, {self.state.value})"
