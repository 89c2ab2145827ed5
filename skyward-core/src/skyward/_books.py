"""What a pool notes of its machines, each fact at once: in the ledger, in the costs, and as an event."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skyward._ledger import Ledger, fingerprint
from skyward._recipe import recipe
from skyward.errors import ConfigurationError
from skyward.model.events import InstanceLaunched, InstanceLaunching, InstanceProvisioned, InstanceRunning

if TYPE_CHECKING:
    from skyward._cost import CostMeter
    from skyward._deadline import Deadline
    from skyward._events import EventBus
    from skyward._fleet import Machine
    from skyward._market import Seller
    from skyward.model.offer import Offer
    from skyward.spi.provider import LaunchRequest, Provider

__all__ = ["Books"]

_log = logging.getLogger("skyward.ledger")


class Books:
    """The books of one pool.

    Args:
        pool_id: names the ledger.
        events: where events go.
        cost: counts what the machines cost.

    Attributes:
        deadline: is told of the machines as well, since its moment follows from what they cost.
    """

    def __init__(self, pool_id: str, events: EventBus, cost: CostMeter) -> None:
        self._pool_id = pool_id
        self._events = events
        self._cost = cost
        self._ledger: Ledger | None = None
        self.deadline: Deadline | None = None

    def open(self, owner: str, providers: Sequence[Provider], deadline: float | None) -> None:
        """Begin, before anything is bought.

        Raises:
            ConfigurationError: the ledger cannot be written.
        """
        self._ledger = Ledger(self._pool_id)
        self._ledger.record(
            "opened",
            owner=owner,
            providers=[provider.name for provider in providers],
            settings=[fingerprint(provider) for provider in providers],
            recipes=[recipe(provider) for provider in providers],
            deadline=deadline,
        )

    def launching(self, offer: Offer, nodes: Sequence[int]) -> None:
        """An order is about to be given.

        Raises:
            ConfigurationError: the ledger cannot be written, so it must not be given.
        """
        assert self._ledger is not None
        self._ledger.record(
            "launching", provider=offer.provider, region=offer.region, machine=offer.instance_type, nodes=list(nodes)
        )
        self._events.emit(
            InstanceLaunching(len(nodes), offer.instance_type, offer.provider, offer.region, offer.market, offer.price)
        )

    def launched(self, machine: Machine) -> None:
        """A machine is known: it costs from now on."""
        if self.deadline is not None:
            self.deadline.launched(machine)
        offer, instance = machine.offer, machine.instance
        spot = offer.market == "spot"
        self._cost.start(
            _account(machine),
            on_demand=_on_demand(offer),
            spot_price=offer.price if spot else None,
            spot=spot,
            quantum=offer.billing_quantum,
            minimum=offer.billing_minimum,
        )
        self._record("launched", provider=offer.provider, ids=[instance.id], price=offer.price)
        self._events.emit(InstanceLaunched(instance.id, instance.node, offer.provider))

    def strayed(self, seller: Seller, request: LaunchRequest, count: int) -> None:
        """An order has brought forth machines that nobody told of, and that have been ended: they cost all the same."""
        if self.deadline is not None:
            self.deadline.strayed(seller, count)
        offer = request.offer
        spot = offer.market == "spot"
        for number in range(count):
            account = f"{id(request)}/stray-{number}"
            self._cost.start(
                account,
                on_demand=_on_demand(offer),
                spot_price=offer.price if spot else None,
                spot=spot,
                quantum=offer.billing_quantum,
                minimum=offer.billing_minimum,
            )
            self._cost.stop(account)

    def answered(self, request: LaunchRequest, clear: bool) -> None:  # noqa: FBT001  it is called back
        """An order ended; ``clear`` if what it has created is known."""
        fact = "answered" if clear else "unclear"
        self._record(fact, provider=request.offer.provider, nodes=list(request.nodes))

    def running(self, machine: Machine) -> None:
        """A machine runs, and has its addresses."""
        offer, instance = machine.offer, machine.instance
        spot = offer.market == "spot"
        self._events.emit(InstanceRunning(instance.id, instance.node, instance.ip))
        self._events.emit(
            InstanceProvisioned(
                instance_id=instance.id,
                node=instance.node,
                spot=spot,
                provider=offer.provider,
                ip=instance.ip,
                instance_type=offer.instance_type,
                price_on_demand=_on_demand(offer),
                price_spot=offer.price if spot else None,
            )
        )

    def extended(self, deadline: float) -> None:
        """The machines end themselves at another moment."""
        self._record("extended", deadline=deadline)

    def gone(self, machine: Machine) -> None:
        """A machine is proven to be gone."""
        if self.deadline is not None:
            self.deadline.gone(machine)
        self._cost.stop(_account(machine))
        self._record("terminated", provider=machine.offer.provider, ids=[machine.instance.id])

    def _record(self, fact: str, **values: str | float | Sequence[str] | Sequence[int] | None) -> None:
        """Record what must not be stopped by a ledger that cannot be written, such as the end of a machine."""
        if self._ledger is None:
            return
        try:
            self._ledger.record(fact, **values)
        except ConfigurationError as error:
            _log.warning("%s %s is not in the ledger: %s", fact, values, error)

    def close(self, *, clean: bool) -> None:
        """End. The ledger is kept unless nothing of the pool is left."""
        if self._ledger is not None:
            self._ledger.close(clean=clean)
            self._ledger = None


def _on_demand(offer: Offer) -> float | None:
    """What the machine costs on demand, in US dollars for an hour."""
    return offer.on_demand_price if offer.market == "spot" or offer.price is None else offer.price


def _account(machine: Machine) -> str:
    """Names a machine to the cost meter: two providers may use the same id."""
    return f"{id(machine.seller)}/{machine.instance.id}"
