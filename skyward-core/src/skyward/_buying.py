"""Launching: offer after offer, until there are machines enough, or everybody has said why not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from attrs import evolve

from skyward._asking import NoAnswer, persistently
from skyward._concurrency import together
from skyward.errors import (
    AllProvidersFailedError,
    AuthenticationFailed,
    PluginError,
    ProviderError,
    QuotaExceeded,
    SkywardError,
)
from skyward.model.offer import Offer
from skyward.spi.provider import LaunchRequest

if TYPE_CHECKING:
    from skyward._deadline import Deadline
    from skyward._fleet import Fleet, Machine
    from skyward._market import Seller
    from skyward._selection import Bid, Order
    from skyward.model.spec import ComputeSpec

__all__ = ["Buyer", "named", "said"]

_log = logging.getLogger("skyward.market")

_IN_VAIN = 2
"""How often offers that have brought a part of an order are asked for the rest in vain. So the last thing that is heard
of them is why they bring no more."""
_NAMED = 40
"""Machine types of one question to a provider that a message names."""
_PAUSE = 0.5
"""Seconds before they are asked first; each further pause in vain is twice as long."""


class _State:
    """How far an order has come: the nodes that it lacks, its machines, and what was answered by whom.

    An answer is told once, however often it came.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self.missing = list(nodes)
        self.bought: list[Machine] = []
        self.answers: dict[str, None] = {}
        self.heard: set[Seller] = set()

    def answer(self, words: str) -> None:
        self.answers[words] = None

    def take(self, machines: Sequence[Machine]) -> None:
        self.bought += machines
        there = {machine.instance.node for machine in machines}
        self.missing = [node for node in self.missing if node not in there]


class Buyer:
    """Gives a pool's orders. One for the whole pool, so that no session is asked to launch twice at a time.

    Args:
        spec: the pool's request.
        fleet: takes the machines.
        before: called with an offer and the nodes that it is for, right before it is ordered.
        deadline: says what must not be bought for its price, and has machines launched with the moment of their end.
    """

    def __init__(
        self,
        spec: ComputeSpec,
        fleet: Fleet,
        before: Callable[[Offer, Sequence[int]], None],
        deadline: Deadline,
    ) -> None:
        self._spec = spec
        self._fleet = fleet
        self._deadline = deadline
        self._before = before
        self._turns: dict[Seller, asyncio.Lock] = {}

    async def buy(
        self, orders: Sequence[Order], sellers: Sequence[Seller], others: Callable[[set[Seller]], Sequence[str]]
    ) -> list[Machine]:
        """Launch orders until they are whole. What was launched is with the fleet at any moment.

        Orders run side by side where they go to different sellers; one seller is asked in the orders' order. Once every
        offer of an order was tried, those that have brought a part of what they were asked for are asked for the rest:
        as long as that brings something, and a few times more.

        Args:
            orders: what to buy.
            sellers: whom the orders name by their index.
            others: gives what the providers said of whom no offer was tried.

        Raises:
            AllProvidersFailedError: the offers ran out first; what each provider answered is in the message.
            AuthenticationFailed: at once, whatever other offers there are.
        """
        set_aside: dict[Seller, SkywardError] = {}
        for order in orders:
            self._deadline.expect(order.nodes, [bid.offer for bid in order.offers])
        try:
            bought = await together(self._buy(order, sellers, set_aside, others) for order in orders)
        finally:
            self._deadline.expect_nothing(node for order in orders for node in order.nodes)
        return [machine for machines in bought for machine in machines]

    async def _buy(
        self,
        order: Order,
        sellers: Sequence[Seller],
        set_aside: dict[Seller, SkywardError],
        others: Callable[[set[Seller]], Sequence[str]],
    ) -> list[Machine]:
        state = _State(order.nodes)
        generous = await self._round(state, order.offers, sellers, set_aside)
        vain = 0
        while state.missing and generous and vain < _IN_VAIN:
            await asyncio.sleep(_PAUSE * 2**vain)
            before = len(state.missing)
            await self._round(state, generous, sellers, set_aside)
            vain = vain + 1 if len(state.missing) == before else 0
            generous = [bid for bid in generous if sellers[bid.seller] not in set_aside]
        if not state.missing:
            return state.bought
        told = [*state.answers, *others({sellers[bid.seller] for bid in order.offers})]
        raise AllProvidersFailedError(
            f"{len(state.missing)} of {len(order.nodes)} machine(s) could not be had: {'; '.join(told)}; try again "
            "later, ask for fewer or for others, or add a provider"
        ) from next(iter(set_aside.values()), None)

    async def _round(
        self, state: _State, bids: Sequence[Bid], sellers: Sequence[Seller], set_aside: dict[Seller, SkywardError]
    ) -> list[Bid]:
        """Ask one offer after the other for what is missing; returns those that brought a part of what they were asked
        for. What an offer's own capacity leaves out it was not asked for.
        """
        generous: list[Bid] = []
        asked: set[int] = set()
        for place, bid in enumerate(bids if state.missing else ()):
            if place in asked:
                continue
            seller, offer = sellers[bid.seller], bid.offer
            others = _alternatives(bids[place:], seller)
            asked.update(range(place, place + len(others) + 1))
            nodes = state.missing if offer.capacity is None else state.missing[: offer.capacity]
            if not nodes:
                state.answer(f"{named(offer)}: no capacity")
                continue
            async with self._turns.setdefault(seller, asyncio.Lock()):
                if seller in set_aside:
                    if seller not in state.heard:  # it failed in another order
                        state.answer(f"{seller.provider.name}: {said(set_aside[seller])}")
                        state.heard.add(seller)
                    continue
                state.heard.add(seller)
                why = self._deadline.refused(offer, nodes)
                if why is not None:
                    state.answer(f"{named(offer)}: refused, since {why}")
                    asked.difference_update(range(place + 1, place + len(others) + 1))
                    continue
                others = self._not_too_dear(others, nodes, state)
                row = [each.offer for each in (bid, *others)]
                try:
                    got = await self._launch(seller, offer, nodes, row[1:])
                except AuthenticationFailed:
                    raise
                except (ProviderError, PluginError) as error:
                    state.answer(f"{named(*row)}: {said(error)}")
                    _log.info("no machine from %s: %s", named(*row), said(error))
                    if isinstance(error, (PluginError, NoAnswer)):
                        set_aside[seller] = error
                    continue
            if got and len(got) < len(nodes):
                generous += [bid, *others]
            state.take(got)
            if not state.missing:
                break
            state.answer(f"{named(*row)}: {len(got)} machine(s) of {len(got) + len(state.missing)}")
        return generous

    def _not_too_dear(self, bids: Sequence[Bid], nodes: Sequence[int], state: _State) -> list[Bid]:
        """Those that may be bought for these nodes; of the others the state learns why not."""
        fine: list[Bid] = []
        for bid in bids:
            why = self._deadline.refused(bid.offer, nodes)
            if why is None:
                fine.append(bid)
            else:
                state.answer(f"{named(bid.offer)}: refused, since {why}")
        return fine

    async def _launch(
        self, seller: Seller, offer: Offer, nodes: Sequence[int], others: Sequence[Offer]
    ) -> list[Machine]:
        """Launch machines of one offer, or of others where it has none.

        A passing failure is tried again, but not where nothing was answered for long. What the machines will cost is
        reckoned with the highest price for which they may be had, until it is known.
        """
        self._before(offer, nodes)

        async def launched() -> list[Machine] | NoAnswer:
            ceilings = [(self._deadline.ceiling(each, nodes) or each.price or 0.0, each) for each in (offer, *others)]
            price, dearest = max(ceilings, key=lambda pair: pair[0])
            request = LaunchRequest(
                offer=offer,
                nodes=tuple(nodes),
                spec=self._spec,
                alternatives=tuple(others),
                max_price=price if self._deadline.limits.any else None,
            )
            try:
                async with self._deadline.order(seller, evolve(dearest, price=price), nodes):
                    return await self._fleet.launch(seller, request)
            except NoAnswer as error:
                return error

        answer = await persistently(launched, attempts=3)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def said(error: Exception) -> str:
    """What a provider answered, in words."""
    words = str(error) or type(error).__name__
    if not isinstance(error, QuotaExceeded):
        return words
    quota = f" ({error.quota})" if error.quota and error.quota not in words else ""
    where = f"; have it raised at {error.url}" if error.url and error.url not in words else ""
    return f"over quota{quota}: {words}{where}"


def _alternatives(bids: Sequence[Bid], seller: Seller) -> list[Bid]:
    """The offers that come right after the first one and are asked for in the same call, where the seller can do so."""
    if not seller.provider.capabilities.alternatives:
        return []
    first, *rest = bids

    def alike(bid: Bid) -> bool:
        offer, head = bid.offer, first.offer
        same = (bid.seller, offer.market, offer.region) == (first.seller, head.market, head.region)
        return same and offer.capacity is None is head.capacity

    return list(takewhile(alike, rest))


def named(offer: Offer, *others: Offer) -> str:
    """Offers of one provider, market and region in words: whose they are, which machines, and where."""
    kinds = list(dict.fromkeys(each.instance_type for each in (offer, *others)))
    more = len(kinds) - _NAMED
    last = f"{more} others" if more > 1 else kinds.pop()
    machines = f"{', '.join(kinds[:_NAMED])} or {last}" if kinds else last
    return f"{offer.provider} {machines} ({offer.market}, {offer.region})"
