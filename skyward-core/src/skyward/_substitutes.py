"""Another machine for a node whose machine is lost before it takes tasks; the other nodes are not disturbed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from attrs import evolve

from skyward._teardown import describe
from skyward._watch import MachineLost, MachineUnreachable
from skyward.errors import (
    AllProvidersFailedError,
    NoAvailableProviderError,
    NodeLost,
    PluginError,
    ProvisioningError,
    SkywardError,
)
from skyward.model.events import InstancePreempted
from skyward.model.instance import InstanceState

if TYPE_CHECKING:
    from skyward._events import EventBus
    from skyward._fleet import Fleet, Machine
    from skyward._market import Market, Seller
    from skyward.model.offer import Offer

__all__ = ["Substitutes"]

_log = logging.getLogger("skyward.road")

SUBSTITUTES = 3
"""How many machines are bought in turn for one node after its first one was lost."""
LOSSES = 2
"""How many machines of one offer may be lost before the other offers are tried first."""
_LOOKS = (0.0, 2.0, 5.0, 10.0)
"""Seconds between looks whether a machine is gone that cannot be reached: its provider may take a while to say so."""


class Substitutes:
    """What was lost on the way to ready machines, and what is bought instead.

    Args:
        market: where to buy.
        fleet: the machines.
        events: where events go.
        let_go: closes the road to a machine, by its id.
        over: the parameter by which the machines' own time is over, so that nothing more is bought; ``None`` before.
    """

    def __init__(
        self,
        market: Market,
        fleet: Fleet,
        events: EventBus,
        let_go: Callable[[int, str], Awaitable[None]],
        over: Callable[[], str | None],
    ) -> None:
        self._market = market
        self._fleet = fleet
        self._events = events
        self._let_go = let_go
        self._over = over
        self._stories: dict[int, list[str]] = {}
        self._losses: list[tuple[Seller, Offer]] = []
        self._unreached: set[int] = set()

    async def bring[T](self, machine: Machine, bring: Callable[[Machine], Awaitable[T]]) -> T:
        """Do ``bring`` with a machine; when it is lost meanwhile, with another one that is bought in its place.

        Raises:
            ProvisioningError: too many were lost, or no other is to be had; what befell each is in the message.
            Exception: of ``bring``, when the machine is still there.
        """
        while True:
            try:
                return await bring(machine)
            except Exception as error:
                why = await self._lost(machine, error)
                if why is None:
                    raise
                failure = error
            self._events.emit(InstancePreempted(machine.instance.id, machine.instance.node, why))
            machine = await self.another(machine, why, failure)

    async def another(self, machine: Machine, why: str, failure: Exception | None = None) -> Machine:
        """Buy a machine in the place of one that is lost. Parameters are what befell it, in words and as it was raised.

        Raises:
            ProvisioningError: as of `bring`.
        """
        node, offer = machine.instance.node, machine.offer
        story = self._stories.setdefault(node, [])
        kind = f"{offer.provider} {offer.instance_type}, {offer.market}, {offer.region}"
        story.append(f"{machine.instance.id} ({kind}): {why}")
        self._losses.append((machine.seller, _kind(offer)))
        await self._let_go(node, machine.instance.id)
        try:
            await self._fleet.end([machine])
        except ProvisioningError as error:
            _log.warning("the lost machine is ended later, with the pool: %s", error)
        if (parameter := self._over()) is not None:
            raise ProvisioningError(
                f"node {node} has lost its machine, {'; '.join(story)}, and the pool's time is over: raise "
                f"{parameter}=..."
            ) from failure
        if len(story) > SUBSTITUTES:
            raise ProvisioningError(
                f"node {node} lost {len(story)} machines before it was ready: {'; '.join(story)}; try again later, or "
                "with another machine, allocation or provider"
            ) from failure
        _log.warning("node %d has lost its machine and gets another one: %s", node, story[-1])
        try:
            await self._market.refresh()
            orders = await self._market.orders([node], last=self._fails_often)
            (bought,) = await self._market.buy(orders)
        except (AllProvidersFailedError, NoAvailableProviderError) as error:
            raise type(error)(f"node {node} has lost its machine, {'; '.join(story)}, and {error}") from error
        return bought

    def _fails_often(self, seller: Seller, offer: Offer) -> bool:
        return self._losses.count((seller, _kind(offer))) >= LOSSES

    async def _lost(self, machine: Machine, error: Exception) -> str | None:
        """Why a machine is lost with which something failed; ``None`` when it is there, and the failure is another."""
        if isinstance(error, (MachineLost, NodeLost)):
            return str(error)
        unreachable = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
        for pause in _LOOKS if unreachable else _LOOKS[:1]:
            await asyncio.sleep(pause)
            try:
                found = (await describe(machine.seller, [machine.instance.id])).get(machine.instance.id)
            except SkywardError:
                continue
            if found is None or found.state is InstanceState.GONE:
                return f"it ended while it was made ready ({_first_line(error)})"
        node = machine.instance.node
        if isinstance(error, MachineUnreachable) and node not in self._unreached:
            # The machine may be at fault, or its host. A second one in a row is more likely to mean a firewall.
            self._unreached.add(node)
            return _first_line(error)
        return None


def _kind(offer: Offer) -> Offer:
    """What stays the same of an offer that is made again later."""
    return evolve(offer, price=None, on_demand_price=None, highest_price=None, capacity=None)


def _first_line(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, PluginError) and isinstance(error.__cause__, OSError) else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
