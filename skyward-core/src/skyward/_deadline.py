"""The moment at which a pool's machines end themselves, what it follows from, and moving it.

It is told in two places: by the tags, from which other clients conclude that a machine is left over, and by the
machines, which act on it. At no moment may a machine live longer than its tag says, or somebody else could end it while
it is in use. So the tags go first where the moment is put off, and last where it is brought forward.

It follows from ``timeout`` or ``pool.extend``, and from what ``budget`` pays for. That depends on what is bought, so it
is reckoned anew before each order, and the order's machines are launched with it. What they cost until then is kept
free (`_spending`), and whoever is cut off at any moment, the machines end by themselves within the budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import define

from skyward import _clock
from skyward._asking import NoAnswer, ask, persistently
from skyward._concurrency import all_of
from skyward._spending import Limits, Spending
from skyward.errors import ConfigurationError, PluginError, ProviderError, ProvisioningError, SkywardError

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._fleet import Fleet, Machine
    from skyward._market import Seller
    from skyward._node import Node
    from skyward.model.offer import Offer

__all__ = ["Deadline"]

_log = logging.getLogger("skyward.road")

_ASK_LIMIT = 30.0
_PATIENCE = 30.0
"""Seconds for which a provider is asked again to move the tags of its machines."""
_WORTH = 30.0
"""Seconds of life for which it is worth to have every machine moved."""
_SAME = 0.001


@define(eq=False)
class _Order:
    """An order under way, and how many machines it has brought forth that nobody told of."""

    strays: int = 0


class Deadline:
    """The deadline of one pool. All of it runs on the pool's event loop.

    Args:
        fleet: the machines whose tags are to be moved.
        dispatcher: the nodes that are to be told.
        note: called with each new deadline once it holds.
        limits: what the user allows the pool to cost.

    Attributes:
        at: seconds since the epoch; ``None`` for none.
    """

    def __init__(
        self, fleet: Fleet, dispatcher: Dispatcher, note: Callable[[float], None], limits: Limits | None = None
    ) -> None:
        self.at: float | None = None
        self._first: float | None = None
        self._wish: float | None = None
        self._spending = Spending(Limits() if limits is None else limits, lambda: _clock.current().time())
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._note = note
        self._turn = asyncio.Lock()
        self._moved = False
        self._open: dict[Seller, _Order] = {}
        self._told: dict[Seller, float | None] = {}

    @property
    def limits(self) -> Limits:
        """What the user allows the pool to cost."""
        return self._spending.limits

    @property
    def limit(self) -> Literal["timeout", "budget"]:
        """The parameter from which the moment follows."""
        later = self.at is not None and (self._wish is None or self.at < self._wish - _SAME)
        return "budget" if later else "timeout"

    def begin(self, deadline: float | None) -> None:
        """Before anything is bought: the moment that ``timeout`` sets."""
        self.at = self._wish = self._first = deadline

    def over(self) -> str | None:
        """The parameter by which the machines' time is over; ``None`` before that."""
        return self.limit if self.at is not None and _clock.current().time() >= self.at else None

    # buying

    def hopeless(self, offers: Sequence[Offer], nodes: Sequence[int]) -> list[tuple[Offer, str]]:
        """The offers that are not worth a try, and why; see `Spending.hopeless`."""
        return self._spending.hopeless(offers, nodes, self._reached())

    def expect(self, nodes: Iterable[int], offers: Iterable[Offer]) -> None:
        """One of these offers will be bought for each of these nodes."""
        self._spending.expect(nodes, offers)

    def expect_nothing(self, nodes: Iterable[int]) -> None:
        """These nodes are bought, or will not be."""
        self._spending.expect_nothing(nodes)

    def refused(self, offer: Offer, nodes: Collection[int]) -> str | None:
        """Why an order must not be given; see `Spending.refused`."""
        return self._spending.refused(offer, nodes, self._reached())

    def ceiling(self, offer: Offer, nodes: Collection[int]) -> float | None:
        """What each machine of an order may cost at most; see `Spending.ceiling`."""
        return self._spending.ceiling(offer, nodes, self._reached())

    @contextlib.asynccontextmanager
    async def order(self, seller: Seller, offer: Offer, nodes: Sequence[int]) -> AsyncGenerator[None]:
        """Around the giving of an order: its machines are launched with the deadline for which there is money.

        Raises:
            SkywardError: the provider cannot be told of the deadline, so the order must not be given.
        """
        if not self.limits.any:
            yield
            return
        order = self._open[seller] = _Order()
        deadline = self._for(offer, nodes)
        self._spending.ordered(order, offer, nodes, deadline)
        given = False
        try:
            await self._follow(deadline)
            if self._told.get(seller, self._first) != deadline and deadline is not None:
                await _extend(seller, [], deadline)
                self._told[seller] = deadline
            given = True
            yield
        except (NoAnswer, PluginError):
            if not given or not self._fleet.doubtful:
                self._spending.answered(order, created=order.strays)
            raise
        except Exception:
            self._spending.answered(order, created=order.strays)
            raise
        else:
            self._spending.answered(order, created=order.strays)
        finally:
            self._open.pop(seller, None)

    def _for(self, offer: Offer, nodes: Sequence[int]) -> float | None:
        """When the machines of an order are to end."""
        affordable = _sooner(self._wish, self._spending.affordable(offer, nodes, self._reached()))
        return _sooner(affordable, self.at) if self._spending.living() else affordable

    async def _follow(self, deadline: float | None) -> None:
        """Have all machines end no later than those that are about to be ordered."""
        if deadline is None or (self.at is not None and abs(deadline - self.at) < _SAME):
            return
        if self._fleet.machines:
            await self._move(deadline, {machine.seller for machine in self._fleet.machines})
        else:
            self._set(deadline)

    def launched(self, machine: Machine) -> None:
        """A machine is known."""
        order = self._open.get(machine.seller)
        self._spending.launched(_key(machine), order, machine.offer, machine.instance.node)

    def strayed(self, seller: Seller, count: int) -> None:
        """An order has brought forth so many machines that nobody told of; they have been ended."""
        if seller in self._open:
            self._open[seller].strays += count

    def gone(self, machine: Machine) -> None:
        """A machine is proven to be gone."""
        self._spending.gone(_key(machine))

    def _reached(self) -> list[Hashable]:
        """The machines that hear at once of what they are told."""
        nodes = list(self._dispatcher.nodes.values())
        up = {(node.index, node.instance.id) for node in nodes if node.is_connected}
        return [_key(machine) for machine in self._fleet.machines if (machine.instance.node, machine.instance.id) in up]

    # moving

    async def move(self, deadline: float, sellers: Iterable[Seller]) -> None:
        """Move it, for the machines that there are and for those to come.

        Raises:
            ConfigurationError: the budget does not pay for it; nothing changes.
            ProvisioningError: a provider cannot move the tags, so the deadline stays where it was.
        """
        affordable = self._spending.affordable(movable=self._spending.living())
        if affordable is not None and deadline > affordable:
            left = max(affordable - _clock.current().time(), 0.0)
            raise ConfigurationError(
                f"budget={self.limits.budget:g} pays for these machines until {_clock_time(affordable)}, {left:.0f} s "
                "from now, and pool.extend cannot go past it: extend by less, or give the pool a larger budget=..."
            )
        await self._move(deadline, sellers)
        self._wish = deadline
        self._say_limit()

    async def settle(self, sellers: Iterable[Seller]) -> None:
        """What there was to be bought is bought: the machines may live as long as there is money for them.

        Until now some may have been ordered with an earlier moment, because a dearer offer was tried or expected. What
        fails is logged, since they end in any case.
        """
        if self.at is None or self.limits.budget is None:
            return
        target = _sooner(self._wish, self._spending.affordable(movable=self._spending.living()))
        if target is None or self.at <= target < self.at + _WORTH:  # sooner where something was dearer than offered
            return
        try:
            await self._move(target, sellers)
        except ProvisioningError as error:
            _log.warning("the machines could live longer for the budget: %s", error)

    async def _move(self, deadline: float, sellers: Iterable[Seller]) -> None:
        async with self._turn:
            self._moved = True
            sooner = self.at is None or deadline < self.at
            if sooner:
                self._tell(deadline)
            else:  # from now on they may come to know it, whatever befalls this
                for key in self._spending.living():
                    self._spending.told(key, deadline)
            failures = [said for said in await all_of(self._tag(seller, deadline) for seller in sellers) if said]
            if sooner and failures:  # they say too late a moment, at which the machines are long gone
                _log.warning("the new deadline is told to the machines, and not by their tags: %s", "; ".join(failures))
            elif failures:
                assert self.at is not None
                raise ProvisioningError(
                    f"the deadline cannot be put off: {'; '.join(failures)}; all machines of this pool still end "
                    f"themselves at {_clock_time(self.at)}, so call pool.extend() again before that"
                )
            elif not sooner:
                self._tell(deadline)

    def _tell(self, deadline: float) -> None:
        self._set(deadline)
        left = deadline - _clock.current().time()
        reached = self._reached()
        for node in list(self._dispatcher.nodes.values()):
            node.extend(left)
        for key in reached:
            self._spending.told(key, deadline)

    def _set(self, deadline: float) -> None:
        self.at = deadline
        self._say_limit()
        self._note(deadline)

    def _say_limit(self) -> None:
        """Whoever is cut off is told which parameter it was."""
        self._dispatcher.time_limit = self.limit

    async def _tag(self, seller: Seller, deadline: float) -> str:
        """Move the tags at one provider; what went wrong, in words. One without machines need not answer."""
        ids = [machine.instance.id for machine in self._fleet.machines if machine.seller is seller]
        try:
            await _extend(seller, ids, deadline)
            self._told[seller] = deadline
        except SkywardError as error:
            if ids:
                return f"{', '.join(ids)} of {seller.provider.name} ({error})"
            _log.warning("%s was not told of the new deadline: %s", seller.provider.name, error)
        return ""

    async def catch_up(self, machine: Machine, node: Node) -> None:
        """Have a machine that was bought meanwhile, perhaps with another deadline, follow the one that holds.

        Raises:
            SkywardError: its provider cannot move its tag.
        """
        own = self._spending.until(_key(machine))
        if not self._moved and (own is None or self.at is None or abs(own - self.at) < _SAME):
            return
        async with self._turn:
            assert self.at is not None
            if own is not None and own < self.at:
                self._spending.told(_key(machine), self.at)
            await _extend(machine.seller, [machine.instance.id], self.at)
            node.extend(self.at - _clock.current().time())

    def arrived(self, machine: Machine) -> None:
        """A machine is connected, and so has been told what `catch_up` had it told."""
        if self.at is not None:
            self._spending.told(_key(machine), self.at)


def _key(machine: Machine) -> Hashable:
    """Names a machine: two providers may use the same id."""
    return machine.seller, machine.instance.id


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def _clock_time(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


async def _extend(seller: Seller, ids: list[str], deadline: float) -> None:
    async def moved() -> None:
        await seller.session.extend(ids, deadline)

    await persistently(
        lambda: ask(seller.provider, "extend", moved(), _ASK_LIMIT), on=ProviderError, patience=_PATIENCE, first=0.2
    )
