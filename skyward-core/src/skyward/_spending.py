"""What a pool may spend, and what it has promised to: pure bookkeeping, told what is bought and what has ended.

``max_hourly_cost`` limits the rate of the machines that there are. ``budget`` limits their sum, and turns into the
moment at which they end themselves. For each machine that moment counts which the machine itself knows: one that was
launched to end at noon may live until noon, whoever wishes it otherwise meanwhile, until it has been told. So at no
moment do the promises that are out come to more than the budget, and whoever is cut off then, nothing more is spent.

Amounts are exact: nano-dollars for an hour times microseconds, as in `_cost`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

from attrs import Factory, asdict, define, evolve, frozen

from skyward._cost import HOUR, MICRO, NANO, Tariff, dollars
from skyward.model.offer import Offer

__all__ = ["ENDING", "LEAST", "Limits", "Spending", "amount", "tariff_of"]

ENDING = 30.0
"""Seconds that a machine may take, once its deadline has come, until it is not paid for any more."""
LEAST = 60.0
"""Seconds that a budget must pay for: in less no machine gets ready."""
_FLOAT = 10
"""Microseconds by which a moment may be off once it is a float of seconds since the epoch, and some."""


@frozen(kw_only=True)
class Limits:
    """What the user allows a pool: US dollars for an hour of all its machines together, and US dollars altogether."""

    max_hourly_cost: float | None = None
    budget: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return self.max_hourly_cost is not None or self.budget is not None

    def __str__(self) -> str:
        return " and ".join(f"{name}={value:g}" for name, value in asdict(self).items() if value is not None)


@define(eq=False)
class _Line:
    """Machines that cost the same from the same moment on: an order under way, or one machine.

    ``until`` is when each ends itself, as far as it knows, and ``ended`` when it did; in microseconds. ``expected`` is
    what was expected for the nodes of an order before it was given.
    """

    tariff: Tariff
    count: int
    started: int
    until: int | None
    ended: int | None = None
    expected: dict[int, Tariff] = Factory(dict)

    def cost(self, until: int) -> int:
        end = until + round(ENDING * MICRO) if self.ended is None else self.ended
        return self.count * self.tariff.paid * self.tariff.billed(end - self.started)


class Spending:
    """The money of one pool. Moments that are taken and given are seconds since the epoch.

    Args:
        limits: what the user allows.
        now: tells the moment.
    """

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._budget = None if limits.budget is None else round(limits.budget * NANO) * HOUR
        self._rate = None if limits.max_hourly_cost is None else round(limits.max_hourly_cost * NANO)
        self._lines: dict[Hashable, _Line] = {}
        self._expected: dict[int, Tariff] = {}

    # what is to be bought

    def expect(self, nodes: Iterable[int], offers: Iterable[Offer]) -> None:
        """For these nodes something will be bought: one of these offers. The cheapest is kept free for each."""
        tariffs = [tariff_of(offer) for offer in offers if offer.price is not None]
        if tariffs:
            cheapest = min(tariffs, key=lambda tariff: tariff.paid)
            self._expected.update(dict.fromkeys(nodes, cheapest))

    def expect_nothing(self, nodes: Iterable[int]) -> None:
        """They are bought, or will not be."""
        for node in nodes:
            self._expected.pop(node, None)

    def refused(self, offer: Offer, nodes: Collection[int], movable: Collection[Hashable] = ()) -> str | None:
        """Why these nodes must not be bought from an offer, in words behind "refused, since"; ``None`` if they may.

        What there is already is counted, and what is expected for other nodes. ``movable`` is as of `affordable`.
        """
        if not self.limits.any:
            return None
        if offer.price is None:
            return f"its price is not known, and the pool has {self.limits}"
        if self._rate is not None:
            rate = self._committed(nodes) + len(nodes) * tariff_of(offer).paid
            if rate > self._rate:
                return (
                    f"at {amount(offer.price)} an hour each the pool would cost {amount(rate / NANO)} an hour, and "
                    f"max_hourly_cost is {amount(self.limits.max_hourly_cost)}"
                )
        deadline = self.affordable(offer, nodes, movable)
        if deadline is not None and deadline < self._now() + LEAST:
            return (
                f"at {amount(offer.price)} an hour each{_granularity(offer)}, budget={self.limits.budget:g} does not "
                f"pay for {LEAST:g} s of the pool"
            )
        return None

    def ceiling(self, offer: Offer, nodes: Collection[int], movable: Collection[Hashable] = ()) -> float | None:
        """What each machine may cost at most, in dollars for an hour, if these nodes are bought from an offer.

        No more than the limits allow, and no more than the offer may come to. ``None`` where there is no limit.

        Args:
            offer: one that is not refused for these nodes.
            nodes: which.
            movable: as of `affordable`.
        """
        if not self.limits.any or offer.price is None:
            return None
        highest = max(offer.highest_price or 0.0, offer.price)
        if self._rate is not None:
            free = max(self._rate - self._committed(nodes), 0) // max(len(nodes), 1)
            highest = max(min(highest, free / NANO), offer.price)
        return offer.price if self.refused(evolve(offer, price=highest), nodes, movable) else highest

    def hopeless(
        self, offers: Sequence[Offer], nodes: Sequence[int], movable: Collection[Hashable] = ()
    ) -> list[tuple[Offer, str]]:
        """Those of the offers that cannot have a part in buying these nodes, the cheapest first, each with the reason.

        The least part is one machine of the offer, the others being the cheapest of all. The reason is why all nodes
        cannot be bought from it, which is what its user would like to know.
        """
        if not self.limits.any:
            return []
        trial = Spending(self.limits, self._now)
        trial._lines = self._lines
        ordered = sorted(offers, key=lambda offer: (offer.price is None, offer.price or 0.0))
        priced = [offer for offer in ordered if offer.price is not None]
        hopeless: list[tuple[Offer, str]] = []
        for offer in ordered:
            trial._expected = dict(zip(nodes[1:], _cheapest(priced, offer, len(nodes) - 1), strict=False))
            why = trial.refused(offer, nodes[:1], movable)
            if why is not None:
                hopeless.append((offer, trial.refused(offer, nodes, movable) or why))
        return hopeless

    def affordable(
        self, offer: Offer | None = None, nodes: Collection[int] = (), movable: Collection[Hashable] = ()
    ) -> float | None:
        """The latest moment at which the machines may end so that the budget holds; ``None`` where it sets none.

        Args:
            offer: what is about to be bought, to end at that moment.
            nodes: for which nodes.
            movable: the machines that would hear of that moment at once. All others end when they know.
        """
        if self._budget is None:
            return None
        now = self._micro()
        new = [] if offer is None else [_Line(tariff_of(offer), len(nodes), now, None)]
        new += [_Line(tariff, 1, now, None) for node, tariff in self._expected.items() if node not in nodes]
        free: list[_Line] = []
        fixed = 0
        for key, line in self._lines.items():
            if line.ended is None and (key in movable or line.until is None):
                free.append(line)
            else:
                fixed += line.cost(line.until or now)
        free = [line for line in (*free, *new) if line.tariff.paid]
        if not free:
            return None
        return max(_latest(free, self._budget - fixed, now) - _FLOAT, now) / MICRO

    def _committed(self, besides: Collection[int]) -> int:
        """Nano-dollars for an hour of what there is, and of what is expected for other nodes."""
        there = sum(line.count * line.tariff.paid for line in self._lines.values() if line.ended is None)
        return there + sum(tariff.paid for node, tariff in self._expected.items() if node not in besides)

    # what has been bought

    def ordered(self, key: Hashable, offer: Offer, nodes: Collection[int], until: float | None) -> None:
        """An order is being given, whose machines are to end at that moment. They are counted from now on."""
        expected = {node: self._expected.pop(node) for node in nodes if node in self._expected}
        self._lines[key] = _Line(tariff_of(offer), len(nodes), self._micro(), _micro(until), expected=expected)

    def launched(self, key: Hashable, order: Hashable, offer: Offer, node: int) -> None:
        """An order has brought forth a machine."""
        line = self._lines.get(order)
        started, until = (self._micro(), None) if line is None else (line.started, line.until)
        if line is not None:
            line.count = max(line.count - 1, 0)
            line.expected.pop(node, None)
        self._lines[key] = _Line(tariff_of(offer), 1, started, until)

    def answered(self, order: Hashable, *, created: int = 0) -> None:
        """An order has ended; what it has brought forth is counted by itself, and the rest is expected again.

        ``created`` is how many more machines it may have created and lost, which have been ended by now.
        """
        line = self._lines.get(order)
        if line is None:
            return
        self._expected.update(line.expected)
        line.count = created
        line.ended = self._micro()
        if not line.count:
            del self._lines[order]

    def told(self, key: Hashable, until: float) -> None:
        """A machine knows another moment at which it is to end."""
        line = self._lines.get(key)
        if line is not None and line.ended is None:
            line.until = _micro(until)

    def until(self, key: Hashable) -> float | None:
        """The moment at which a machine ends itself, as far as it knows; ``None`` if it has none, or is unknown."""
        line = self._lines.get(key)
        return None if line is None or line.until is None else line.until / MICRO

    def gone(self, key: Hashable) -> None:
        """A machine has ended: now, or at its own deadline if that has passed."""
        line = self._lines.get(key)
        if line is not None and line.ended is None:
            now = self._micro()
            line.ended = now if line.until is None else min(now, line.until + round(ENDING * MICRO))

    def living(self) -> list[Hashable]:
        """What has not ended: machines, and orders under way."""
        return [key for key, line in self._lines.items() if line.ended is None and line.count]

    def promised(self) -> float:
        """Dollars that will have been spent at most when all machines have ended by themselves."""
        return dollars(sum(line.cost(line.until or self._micro()) for line in self._lines.values()))

    def _micro(self) -> int:
        return round(self._now() * MICRO)


def _cheapest(priced: Sequence[Offer], taken: Offer, count: int) -> list[Tariff]:
    """What so many machines cost at least, besides one of ``taken``, with what the offers have left.

    The offers have prices, and come by these. Machines that nobody is known to have count at the lowest one.
    """
    tariffs: list[Tariff] = []
    for offer in priced:
        missing = count - len(tariffs)
        left = missing if offer.capacity is None else min(offer.capacity - (offer is taken), missing)
        tariffs += [tariff_of(offer)] * left
        if len(tariffs) >= count:
            break
    return tariffs + [tariff_of(offer) for offer in priced[:1]] * (count - len(tariffs))


def tariff_of(offer: Offer) -> Tariff:
    """What a machine of an offer costs."""
    spot = offer.market == "spot"
    return Tariff.of(
        offer.on_demand_price if spot or offer.price is None else offer.price,
        offer.price if spot else None,
        spot=spot,
        quantum=offer.billing_quantum,
        minimum=offer.billing_minimum,
    )


def amount(value: float | None) -> str:
    """Dollars as ``$0.25``, ``$12.30`` or ``$0.0042``: at least two digits behind the point, at most six."""
    text = f"{value or 0.0:.6f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"${whole}.{rest:0<2}"


def _granularity(offer: Offer) -> str:
    least = max(offer.billing_quantum, offer.billing_minimum)
    return "" if least <= LEAST else f", of which {least:g} s are billed at least"


def _latest(lines: Sequence[_Line], money: int, now: int) -> int:
    """The last microsecond up to which these lines cost no more than so much money; ``now`` where there is none."""
    rate = sum(line.count * line.tariff.paid for line in lines)
    if not rate or sum(line.cost(now) for line in lines) > money:
        return now
    # Rounding up never makes it cheaper, so nothing beyond what the plain rate allows can be paid for.
    begun = min(line.started for line in lines)
    low, high = now, now + (money // rate) + max(now - begun, 0) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if sum(line.cost(middle) for line in lines) <= money:
            low = middle
        else:
            high = middle
    return low


def _micro(moment: float | None) -> int | None:
    return None if moment is None else round(moment * MICRO)
