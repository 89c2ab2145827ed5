"""A machine that a provider has launched."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen

from skyward.model.offer import Offer

__all__ = ["Instance", "InstanceState"]


class InstanceState(StrEnum):
    """Where a machine stands. ``GONE`` covers every way of being ended, as well as unknown to the provider."""

    PENDING = "pending"
    RUNNING = "running"
    GONE = "gone"


@frozen(kw_only=True)
class Instance:
    """One machine, as its provider describes it.

    Attributes:
        id: the provider's identifier.
        state: where it stands.
        pool_id: the pool that it belongs to, from its tags.
        node: its index in the pool.
        offer: what it was bought as; ``None`` for a machine that was found without local state.
        ip: address that the client reaches it by.
        private_ip: address that the other nodes reach it by.
        deadline: when it ends itself, in seconds since the epoch; ``None`` when it has no deadline.
        owner: who started its pool, from its tags: ``user@host``.
        client: the process that started its pool, from its tags, by which another one can tell whether it still lives.
        details: the provider's own facts, such as a port or a zone; plain values only.
    """

    id: str
    state: InstanceState
    pool_id: str = ""
    node: int = 0
    offer: Offer | None = None
    ip: str | None = None
    private_ip: str | None = None
    deadline: float | None = None
    owner: str = ""
    client: str = ""
    details: Mapping[str, object] = field(factory=dict, hash=False)
