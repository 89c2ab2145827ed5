"""The providers of a pool: open them, gather their offers, and make orders of these."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from attrs import define, evolve, frozen

from skyward._asking import NoAnswer, ask, let_go, persistently
from skyward._buying import Buyer, named, said
from skyward._client import this_client
from skyward._concurrency import all_of, together
from skyward._handles import ProviderHandle
from skyward._hooks import Aside
from skyward._quote import quote
from skyward._selection import Order, fits, milder, most, plan, rank, wanted
from skyward.errors import (
    AuthenticationFailed,
    NoAvailableProviderError,
    SkywardError,
)
from skyward.model.allocation import AllocationStrategy, SpotIfAvailable
from skyward.model.offer import Offer
from skyward.spi.provider import PoolIdentity, Provider, Session

if TYPE_CHECKING:
    from skyward._deadline import Deadline
    from skyward._fleet import Machine
    from skyward._options import PoolOptions
    from skyward.model.spec import ComputeSpec

__all__ = ["Identify", "Market", "Seller", "answered", "at_most", "fitting"]

_log = logging.getLogger("skyward.market")

ANSWER_LIMIT = 30.0
"""Seconds that a provider may take to open its session, and as many to name its offers, further attempts included.
Then the others go on without it."""


def _warn_of_survivors(provider: Provider) -> None:
    """Tell of machines that nobody would end if this process were killed."""
    if not provider.capabilities.self_termination:
        _log.warning(
            "machines of %s cannot end themselves: if this process is killed, they cost money until `skyward reap` is "
            "run",
            provider.name,
        )


def _tell_of_demand(provider: Provider, offers: Sequence[Offer], allocation: AllocationStrategy) -> None:
    """Say that spot was preferred, and is not sold; where nothing has a price it makes no difference."""
    paid = any(offer.price != 0 for offer in offers)
    if isinstance(allocation, SpotIfAvailable) and paid and not provider.capabilities.spot:
        _log.info("%s sells no spot machines: what is bought there is bought on demand", provider.name)


@frozen
class Identify:
    """Makes the identity that a pool has towards one provider."""

    pool_id: str
    owner: str
    deadline: float | None
    lease: float | Literal["provider"] | None
    token: bytes

    def towards(self, provider: Provider) -> PoolIdentity:
        """The identity, with the lease that the user or else the provider sets."""
        lease = provider.capabilities.default_lease if self.lease == "provider" else self.lease
        return PoolIdentity(
            pool_id=self.pool_id,
            owner=self.owner,
            deadline=self.deadline,
            lease=lease,
            token=self.token,
            client=this_client(),
        )


@define(eq=False)
class Seller:
    """A provider with its open session and what it offered last. Each is equal to itself only."""

    provider: Provider
    session: Session
    offers: tuple[Offer, ...]
    lease: float | None


class Market:
    """The providers of a pool: who can be asked, what each offers, and what each answered.

    Args:
        options: the pool's request.
        identify: makes the identity towards each provider.
        buyer: gives the orders.
        deadline: says which offers are not worth a try for their price.
    """

    def __init__(self, options: PoolOptions, identify: Identify, buyer: Buyer, deadline: Deadline) -> None:
        self.sellers: list[Seller] = []
        self.sessions: list[tuple[Provider, Session]] = []
        """Every session that was opened, those of providers included whose offers failed."""
        self._options = options
        self._identify = identify
        self._buyer = buyer
        self._deadline = deadline
        self._refused: list[tuple[Offer, str]] = []
        self._answers: list[tuple[str, str, Seller | None]] = []

    @property
    def lease(self) -> float | None:
        """Seconds within which every machine must hear from this client; ``None`` when none needs to."""
        return min((seller.lease for seller in self.sellers if seller.lease is not None), default=None)

    async def open(self) -> None:
        """Open every provider at the same time and gather what they offer.

        A provider that fails or takes too long costs itself only; its answer is kept and logged. The exception is
        refused credentials: to go on elsewhere could cost more than its user had in mind.

        Raises:
            AuthenticationFailed: of any provider.
            NoAvailableProviderError: none is left.
            SkywardError: the error of the provider, when there is only one.
        """
        providers = self._options.providers
        outcomes = await together(self._open(provider) for provider in providers)
        failures: list[Exception] = []
        for provider, outcome in zip(providers, outcomes, strict=True):
            if isinstance(outcome, Seller):
                self.sellers.append(outcome)
                self._answers.append((provider.name, f"{len(outcome.offers)} fitting offer(s)", outcome))
                _warn_of_survivors(provider)
                _tell_of_demand(provider, outcome.offers, self._options.allocation.value)
            else:
                failures.append(outcome)
                self._answers.append((provider.name, said(outcome), None))
                _log.warning("%s cannot be used: %s", provider.name, outcome)
        if self.sellers:
            return
        if len(failures) == 1:
            raise failures[0]
        raise NoAvailableProviderError(f"no provider can be used: {self._said()}") from failures[0]

    async def _open(self, provider: Provider) -> Seller | SkywardError:
        identity = self._identify.towards(provider)
        spec = self._options.spec

        async def opened() -> Session:
            session = await provider.open(identity)
            self.sessions.append((provider, session))
            return session

        try:
            session = await answered(provider, "open", opened)
            offers = await answered(provider, "offers", lambda: fitting(session, spec))
        except AuthenticationFailed:
            raise
        except SkywardError as error:
            return error
        return Seller(provider, session, offers, identity.lease)

    async def refresh(self) -> None:
        """Ask the providers for their offers anew. One that does not answer is taken at its last word."""
        await together(self._refresh(seller) for seller in self.sellers)

    async def _refresh(self, seller: Seller) -> None:
        spec = self._options.spec
        try:
            seller.offers = await answered(seller.provider, "offers", lambda: fitting(seller.session, spec))
        except SkywardError as error:
            _log.warning("the earlier offers of %s have to do: %s", seller.provider.name, error)

    async def orders(
        self, nodes: Iterable[int], last: Callable[[Seller, Offer], bool] = lambda _seller, _offer: False
    ) -> list[Order]:
        """What to buy for these nodes, with the offers to try in turn; those for which ``last`` is true after the rest.

        Raises:
            NoAvailableProviderError: nobody offers it; each provider's answer is in the message.
            PluginError: a plugin's selection or allocation failed or broke its contract.
            ConfigurationError: the user's own selection or allocation broke the contract. What else one of them raises
                arrives as itself.
        """
        planning = contextvars.copy_context().run  # a user's own function may look at the context
        orders = await asyncio.get_running_loop().run_in_executor(Aside(), planning, self._plan, list(nodes))
        if not all(order.offers for order in orders):
            raise NoAvailableProviderError(await self._nothing())
        return [
            evolve(order, offers=tuple(sorted(order.offers, key=lambda bid: last(self.sellers[bid.seller], bid.offer))))
            for order in orders
        ]

    def _plan(self, nodes: list[int]) -> list[Order]:
        """The choices, off the event loop: they may be a user's or a plugin's code."""
        options, allocation = self._options, self._options.allocation
        offers = self._affordable(nodes)
        handles = [
            ProviderHandle(seller.provider.name, wanted(its_own, allocation, options.spec.nodes))
            for seller, its_own in zip(self.sellers, offers, strict=True)
        ]
        ranking = rank(handles, options.selection, options.spec)
        return plan(offers, ranking, allocation, nodes, options.spec.nodes)

    def _affordable(self, nodes: list[int]) -> list[tuple[Offer, ...]]:
        """The offers of each seller without those that are too dear, which are kept for the error.

        Only what the allocation admits is judged: what it leaves out makes nothing cheaper.
        """
        if not self._deadline.limits.any:
            return [each.offers for each in self.sellers]
        allocation, count = self._options.allocation, self._options.spec.nodes
        admitted = [offer for each in self.sellers for offer in wanted(each.offers, allocation, count)]
        self._refused = self._deadline.hopeless(admitted, nodes)
        refused = {id(offer) for offer, _ in self._refused}
        return [tuple(offer for offer in each.offers if id(offer) not in refused) for each in self.sellers]

    async def _nothing(self) -> str:
        spec = self._options.spec
        wish = [f"{spec.nodes} node(s)"]
        wish += [f"accelerator {spec.accelerator}"] if spec.accelerator is not None else []
        wish += [f"{spec.cpu} CPUs"] if spec.cpu is not None else []
        wish += [f"{spec.memory_gb:g} GB"] if spec.memory_gb is not None else []
        wish += [f"machine {spec.machine!r}"] if spec.machine is not None else []
        refused = {id(offer) for offer, _ in self._refused}
        markets = {offer.market for each in self.sellers for offer in each.offers if id(offer) not in refused}
        if refused:
            return (
                f"no provider offers {', '.join(wish)} for that money with this allocation ({self._said()}): "
                f"{self._too_dear()}; raise {self._deadline.limits}, ask for fewer or smaller machines, or choose "
                "another allocation"
            )
        if len(markets) == 1:
            return (
                f"no provider offers {', '.join(wish)} with this allocation: what fits is {markets.pop()} only "
                f"({self._said()}); choose another allocation, or add a provider"
            )
        if markets:
            return (
                f"the allocation {self._options.allocation.title!r} takes too little of what fits {', '.join(wish)} "
                f"({self._said()}); choose another allocation, or add a provider"
            )
        largest = dict(zip(self.sellers, await together(map(self._most, self.sellers)), strict=True))
        return (
            f"no provider offers {', '.join(wish)} ({self._said(largest)}); ask for less, for another accelerator, or "
            "add a provider"
        )

    def _too_dear(self) -> str:
        """The cheapest offer that was refused for its price, and why it was."""
        offer, why = self._refused[0]
        others = f", as were {len(self._refused) - 1} dearer one(s)" if len(self._refused) > 1 else ""
        return f"the cheapest that was refused is {named(offer)}, since {why}{others}"

    async def _most(self, seller: Seller) -> str:
        """What a provider has at most, which it is asked for without the wishes that it cannot meet."""
        try:
            return await at_most(seller.provider, seller.session, self._options.spec)
        except SkywardError:  # what was asked for is not to be had, whether it answers this or not
            return ""

    def _said(self, more: Mapping[Seller, str] = MappingProxyType({})) -> str:
        """The providers' answers, some with what else there is to say of them."""
        return "; ".join(
            f"{name}: {answer}{more.get(seller, '') if seller else ''}" for name, answer, seller in self._answers
        )

    async def buy(self, orders: Sequence[Order]) -> list[Machine]:
        """Say what is ordered, and launch it; see `Buyer.buy`."""
        for line in quote(orders, self._deadline.limits):
            _log.info("%s", line)
        return await self._buyer.buy(orders, self.sellers, self._not_asked)

    def _not_asked(self, asked: set[Seller]) -> list[str]:
        """What the other providers answered."""
        answers = [f"{name}: {answer}" for name, answer, seller in self._answers if seller not in asked]
        return [*answers, self._too_dear()] if self._refused else answers

    async def close(self) -> None:
        """Close every session. What goes wrong is logged: by now nothing depends on it."""
        sessions, self.sessions = self.sessions, []
        await all_of(let_go(provider, "close", session.close) for provider, session in sessions)


async def at_most(provider: Provider, session: Session, spec: ComputeSpec) -> str:
    """What a provider has that has nothing for a request, in words.

    Raises:
        SkywardError: it does not say.
    """
    for each in milder(spec):
        if offers := await answered(provider, "offers", partial(fitting, session, each)):
            return most(offers, spec)
    return ""


async def answered[T](provider: Provider, what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Ask a provider, again after a passing failure, for a limited time."""
    timer = asyncio.timeout(ANSWER_LIMIT)
    try:
        async with timer:
            return await persistently(lambda: ask(provider, what, call()), attempts=4, patience=ANSWER_LIMIT / 2)
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise NoAnswer(f"{provider.name} did not answer to {what} within {ANSWER_LIMIT:g} s") from error


async def fitting(session: Session, spec: ComputeSpec) -> tuple[Offer, ...]:
    """What a session offers that meets a request."""
    return tuple(offer for offer in await session.offers(spec) if _sound(offer) and fits(offer, spec))


def _sound(offer: object) -> bool:
    """Refuse an offer that cannot be: once it is bought it is too late."""
    if not isinstance(offer, Offer):
        raise TypeError(f"{offer!r} is no offer")
    prices = [price for price in (offer.price, offer.on_demand_price, offer.highest_price) if price is not None]
    if not all(0 <= price < math.inf for price in prices):
        raise ValueError(f"the price of {offer.instance_type} must be 0 or more or None, not {prices}")
    if not 0 < offer.billing_quantum < math.inf:
        raise ValueError(f"the billing quantum of {offer.instance_type} must be positive, not {offer.billing_quantum}")
    if not 0 <= offer.billing_minimum < math.inf:
        raise ValueError(f"the billing minimum of {offer.instance_type} must be 0 or more, not {offer.billing_minimum}")
    if offer.capacity is not None and offer.capacity < 0:
        raise ValueError(f"the capacity of {offer.instance_type} must be 0 or more or None, not {offer.capacity}")
    if offer.market not in ("spot", "on-demand"):
        raise ValueError(f"the market of {offer.instance_type} must be 'spot' or 'on-demand', not {offer.market!r}")
    return True
