"""One machine that a vendor is to make."""

from __future__ import annotations

from attrs import field, frozen

from skyward._rest.label import MachineLabel
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.model.ssh import KeyPair

__all__ = ["Order"]


@frozen(kw_only=True)
class Order:
    """What a session's ``_create`` is asked for.

    Attributes:
        offer: what is bought.
        node: the machine's index in the pool.
        label: what it must bear, by which alone it is found later.
        key: lets the client in; its public half goes to the machine.
        host_key: what the machine's SSH server is to have, whole; ``None`` where the vendor has no way to give it one.
        script: what the machine runs at each boot, as root: its dead man's switch.
        spec: the pool's request.
        max_price: what it may cost at most, in dollars for an hour; ``None`` for no limit.
    """

    offer: Offer
    node: int
    label: MachineLabel
    key: KeyPair
    host_key: KeyPair | None
    script: str = field(repr=False)
    spec: ComputeSpec
    max_price: float | None = None
