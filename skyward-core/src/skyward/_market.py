"""Buying: open the providers, gather their offers, order them, and launch until there are machines enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from skyward._asking import all_of, ask, persistently, together
from skyward._client import this_client
from skyward._handles import ProviderHandle
from skyward._selection import Order, fits, plan, rank, wanted
from skyward.errors import (
    AllProvidersFailedError,
    AuthenticationFailed,
    NoAvailableProviderError,
    PluginError,
    ProviderError,
    ProvisioningError,
    SkywardError,
)
from skyward.model.offer import Offer
from skyward.spi.provider import LaunchRequest, PoolIdentity, Provider, Session

if TYPE_CHECKING:
    from skyward._fleet import Fleet, Machine
    from skyward._options import PoolOptions
    from skyward.model.spec import ComputeSpec

__all__ = ["Identify", "Market", "Seller"]

_log = logging.getLogger("skyward.market")

_PATIENCE = 60.0
"""Seconds that one provider may take over opening and offers before the others go on without it."""


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


@frozen(eq=False)
class Seller:
    """A provider with its open session and what it offered. Each is equal to itself only."""

    provider: Provider
    session: Session
    offers: tuple[Offer, ...]
    lease: float | None


class Market:
    """The providers of a pool: who can be asked, what each offers, and what each answered.

    Args:
        options: the pool's request.
        identify: makes the identity towards each provider.
    """

    def __init__(self, options: PoolOptions, identify: Identify) -> None:
        self.sellers: list[Seller] = []
        self.sessions: list[tuple[Provider, Session]] = []
        """Every session that was opened, those of providers included whose offers failed."""
        self._options = options
        self._identify = identify
        self._answers: list[tuple[str, str]] = []

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
                self._answers.append((provider.name, f"{len(outcome.offers)} fitting offer(s)"))
            else:
                failures.append(outcome)
                self._answers.append((provider.name, str(outcome)))
                _log.warning("%s cannot be used: %s", provider.name, outcome)
        if self.sellers:
            return
        if len(failures) == 1:
            raise failures[0]
        raise NoAvailableProviderError(f"no provider can be used: {self._said()}") from failures[0]

    async def _open(self, provider: Provider) -> Seller | SkywardError:
        identity = self._identify.towards(provider)
        spec = self._options.spec
        timer = asyncio.timeout(_PATIENCE)
        try:
            async with timer:
                session = await persistently(lambda: ask(provider, "open", provider.open(identity)), attempts=4)
                self.sessions.append((provider, session))
                offers = await persistently(lambda: ask(provider, "offers", _fitting(session, spec)), attempts=4)
        except AuthenticationFailed:
            raise
        except SkywardError as error:
            return error
        except TimeoutError:
            if not timer.expired():
                raise
            return ProvisioningError(f"{provider.name} did not answer within {_PATIENCE:g} s")
        return Seller(provider, session, offers, identity.lease)

    async def orders(self, nodes: Iterable[int]) -> list[Order]:
        """What to buy for these nodes, with the offers to try in turn.

        Raises:
            NoAvailableProviderError: nobody offers it; each provider's answer is in the message.
            PluginError: a plugin's selection or allocation failed or broke its contract.
            ConfigurationError: the user's own selection or allocation broke the contract. What else one of them raises
                arrives as itself.
        """
        return await asyncio.to_thread(self._plan, list(nodes))

    def _plan(self, nodes: list[int]) -> list[Order]:
        """The choices, off the event loop: they may be a user's or a plugin's code."""
        options, allocation = self._options, self._options.allocation
        handles = [
            ProviderHandle(seller.provider.name, wanted(seller.offers, allocation, len(nodes)))
            for seller in self.sellers
        ]
        ranking = rank(handles, options.selection, options.spec)
        orders = plan([seller.offers for seller in self.sellers], ranking, allocation, nodes)
        if not all(order.offers for order in orders):
            raise NoAvailableProviderError(self._nothing())
        return orders

    def _nothing(self) -> str:
        spec = self._options.spec
        wish = [f"{spec.nodes} node(s)"]
        wish += [f"accelerator {spec.accelerator}"] if spec.accelerator is not None else []
        wish += [f"{spec.cpu} CPUs"] if spec.cpu is not None else []
        wish += [f"{spec.memory_gb:g} GB"] if spec.memory_gb is not None else []
        wish += [f"machine {spec.machine!r}"] if spec.machine is not None else []
        markets = {offer.market for seller in self.sellers for offer in seller.offers}
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
        return (
            f"no provider offers {', '.join(wish)} ({self._said()}); ask for less, for another accelerator, or add a "
            "provider"
        )

    def _said(self) -> str:
        return "; ".join(f"{name}: {answer}" for name, answer in self._answers)

    async def buy(self, order: Order, fleet: Fleet, before: Callable[[Offer, Sequence[int]], None]) -> list[Machine]:
        """Launch an order, offer after offer, until it is whole. What was launched is with the fleet at any moment.

        Args:
            order: what to buy.
            fleet: takes the machines.
            before: called with an offer and the nodes that it is for, before it is ordered.

        Raises:
            AllProvidersFailedError: the offers ran out first; what each answered is in the message.
            AuthenticationFailed: at once, whatever other offers there are.
        """
        missing = list(order.nodes)
        bought: list[Machine] = []
        answers: list[str] = []
        broken: dict[Seller, PluginError] = {}
        for candidate in order.offers:
            seller, offer = self.sellers[candidate.seller], candidate.offer
            nodes = missing if offer.capacity is None else missing[: offer.capacity]
            if seller in broken:
                continue
            if not nodes:
                answers.append(f"{_named(offer)}: no capacity")
                continue
            before(offer, nodes)
            try:
                got = await self._launch(seller, offer, nodes, fleet)
            except AuthenticationFailed:
                raise
            except (ProviderError, PluginError) as error:
                answers.append(f"{_named(offer)}: {error}")
                _log.info("no machine from %s", answers[-1])
                if isinstance(error, PluginError):
                    broken[seller] = error
                continue
            bought += got
            there = {machine.instance.node for machine in got}
            missing = [node for node in missing if node not in there]
            if not missing:
                return bought
            answers.append(f"{_named(offer)}: {len(got)} machine(s) of {len(got) + len(missing)}")
        raise AllProvidersFailedError(
            f"{len(missing)} of {len(order.nodes)} machine(s) could not be had: {'; '.join(answers)}; try again later, "
            "ask for fewer or for others, or add a provider"
        ) from next(iter(broken.values()), None)

    async def _launch(self, seller: Seller, offer: Offer, nodes: Sequence[int], fleet: Fleet) -> list[Machine]:
        """Launch machines of one offer, again after a passing failure."""
        request = LaunchRequest(offer=offer, nodes=tuple(nodes), spec=self._options.spec)
        return await persistently(lambda: fleet.launch(seller, request), attempts=3)

    async def close(self) -> None:
        """Close every session. What goes wrong is logged: by now nothing depends on it."""
        sessions, self.sessions = self.sessions, []
        await all_of(_close(provider, session) for provider, session in sessions)


async def _fitting(session: Session, spec: ComputeSpec) -> tuple[Offer, ...]:
    return tuple(offer for offer in await session.offers(spec) if fits(offer, spec))


async def _close(provider: Provider, session: Session) -> None:
    try:
        await ask(provider, "close", session.close(), 15)
    except SkywardError as error:
        _log.warning("the session with %s could not be closed: %s", provider.name, error)


def _named(offer: Offer) -> str:
    return f"{offer.provider} {offer.instance_type} ({offer.market}, {offer.region})"
