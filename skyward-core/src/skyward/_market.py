"""Buying: open the providers, gather their offers, order them, and launch until there are machines enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import frozen
from tenacity import AsyncRetrying, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_exponential

from skyward._handles import ProviderHandle
from skyward._selection import Order, fits, plan, rank_providers
from skyward.errors import (
    AllProvidersFailedError,
    AuthenticationFailed,
    NoAvailableProviderError,
    ProviderError,
    ProvisioningError,
    SkywardError,
    Transient,
)
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import LaunchRequest, PoolIdentity

if TYPE_CHECKING:
    from skyward._options import PoolOptions
    from skyward.model.offer import Offer
    from skyward.spi.provider import Provider, Session

__all__ = ["Identify", "Market", "open_market"]

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
        lease = provider.capabilities.default_lease if self.lease == "provider" else self.lease
        return PoolIdentity(
            pool_id=self.pool_id, owner=self.owner, deadline=self.deadline, lease=lease, token=self.token
        )


@frozen
class _Stall:
    """One provider with its session and what it offered."""

    provider: Provider
    session: Session
    offers: tuple[Offer, ...]


class Market:
    """The providers of a pool, in the order in which they are to be asked."""

    def __init__(
        self, options: PoolOptions, stalls: Sequence[_Stall], answers: dict[str, str], lease: float | None
    ) -> None:
        self.lease = lease
        self._options = options
        self._stalls = list(stalls)
        self._answers = answers

    @property
    def sessions(self) -> list[Session]:
        """Every open session."""
        return [stall.session for stall in self._stalls]

    async def orders(self, nodes: Iterable[int]) -> list[Order]:
        """What to buy for these nodes, with the offers to try in turn.

        Raises:
            NoAvailableProviderError: nobody offers it; each provider's answer is in the message.
        """
        offers = [offer for stall in await self._ranked() for offer in stall.offers]
        orders = plan(offers, self._options.allocation, list(nodes))
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
        answers = "; ".join(f"{name}: {answer}" for name, answer in self._answers.items())
        return (
            f"no provider offers {', '.join(wish)} with this allocation ({answers}); ask for less, for another "
            'accelerator, or with allocation="on-demand", or add a provider'
        )

    async def _ranked(self) -> list[_Stall]:
        selection = self._options.selection
        if not callable(selection):
            return [
                self._stalls[index] for index in rank_providers([stall.offers for stall in self._stalls], selection)
            ]
        handles = tuple(ProviderHandle(stall.provider.name, stall.offers, self._options.spec) for stall in self._stalls)
        chosen = await asyncio.to_thread(selection, handles, self._options.spec)
        for index, handle in enumerate(handles):
            if chosen is handle:
                return [self._stalls[index], *(stall for stall in self._stalls if stall is not self._stalls[index])]
        raise ProvisioningError(
            f"the selection {getattr(selection, '__name__', selection)!r} returned {chosen!r}; return one of the "
            "providers that it was given"
        )

    async def buy(
        self,
        order: Order,
        before: Callable[[Offer, Sequence[int]], Awaitable[None]],
        after: Callable[[Session, Offer, Sequence[Instance]], None],
    ) -> list[Instance]:
        """Launch an order, offer after offer, until it is whole.

        Raises:
            AllProvidersFailedError: the offers ran out first; what each answered is in the message. What was launched
                is with the caller, who ends it.
        """
        missing = list(order.nodes)
        bought: list[Instance] = []
        answers: list[str] = []
        for offer in order.offers:
            stall = next(stall for stall in self._stalls if offer in stall.offers)
            request = LaunchRequest(offer=offer, nodes=tuple(missing), spec=self._options.spec)
            await before(offer, missing)
            try:
                got = await stall.session.launch(request)
            except AuthenticationFailed:
                raise
            except ProviderError as error:
                answers.append(f"{offer.provider} {offer.instance_type} ({offer.market}): {error}")
                _log.info("no machine from %s", answers[-1])
                continue
            after(stall.session, offer, got)
            bought += got
            missing = [node for node in missing if node not in {instance.node for instance in got}]
            if not missing:
                return bought
            answers.append(f"{offer.provider} {offer.instance_type} ({offer.market}): {len(got)} machine(s) only")
        raise AllProvidersFailedError(
            f"{len(missing)} of {len(order.nodes)} machine(s) could not be had: {'; '.join(answers)}"
        )

    async def until_running(self, instances: Sequence[Instance]) -> list[Instance]:
        """Poll until every machine runs; in the given order."""
        return list(await asyncio.gather(*(self._until_running(instance) for instance in instances)))

    async def _until_running(self, instance: Instance) -> Instance:
        stall = next(stall for stall in self._stalls if instance.offer in stall.offers)
        async for attempt in AsyncRetrying(
            retry=retry_if_result(lambda found: found.state is InstanceState.PENDING)
            | retry_if_exception_type(Transient),
            wait=wait_exponential(multiplier=0.25, max=5),
            reraise=True,
        ):
            with attempt:
                known = await stall.session.describe([instance.id])
                found = known.get(instance.id)
                if found is None or found.state is InstanceState.GONE:
                    raise ProvisioningError(f"machine {instance.id} of {stall.provider.name} ended before it was ready")
            if attempt.retry_state.outcome is not None and not attempt.retry_state.outcome.failed:
                attempt.retry_state.set_result(found)
        return found


async def open_market(options: PoolOptions, identify: Identify) -> Market:
    """Open every provider at the same time and gather what they offer.

    A provider that fails or takes too long costs itself only, unless none is left: then its error is raised.
    """
    outcomes = await asyncio.gather(
        *(_open(provider, options, identify) for provider in options.providers), return_exceptions=True
    )
    stalls = [outcome for outcome in outcomes if isinstance(outcome, _Stall)]
    answers: dict[str, str] = {}
    for provider, outcome in zip(options.providers, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, Exception):
                raise outcome
            answers[provider.name] = str(outcome) or type(outcome).__name__
            _log.warning("%s cannot be used: %s", provider.name, answers[provider.name])
        else:
            answers[provider.name] = f"{len(outcome.offers)} fitting offer(s)"
    if not stalls:
        first = next(outcome for outcome in outcomes if isinstance(outcome, Exception))
        if len(outcomes) == 1 and isinstance(first, SkywardError):
            raise first
        raise NoAvailableProviderError(
            "no provider can be used: " + "; ".join(f"{name}: {said}" for name, said in answers.items())
        ) from first
    leases = [identify.towards(stall.provider).lease for stall in stalls]
    known = [lease for lease in leases if lease is not None]
    return Market(options, stalls, answers, min(known) if known else None)


async def _open(provider: Provider, options: PoolOptions, identify: Identify) -> _Stall:
    try:
        async with asyncio.timeout(_PATIENCE):
            session = await provider.open(identify.towards(provider))
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Transient),
                stop=stop_after_attempt(4),
                wait=wait_exponential(),
                reraise=True,
            ):
                with attempt:
                    offers = await session.offers(options.spec)
    except TimeoutError as error:
        raise ProvisioningError(f"did not answer within {_PATIENCE:g} s") from error
    return _Stall(provider, session, tuple(offer for offer in offers if fits(offer, options.spec)))
