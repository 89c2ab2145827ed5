"""Rules of what a session offers."""

from __future__ import annotations

import pickle

from attrs import evolve

from skyward.errors import ProviderError, Unavailable
from skyward.spi.provider import LaunchRequest
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._plain import is_figure, is_plain
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop

__all__ = ["OfferRules"]


class OfferRules(ProviderRules):
    """Offers are true, complete, and of this provider."""

    @on_loop
    async def test_offers_name_provider_machine_and_region(self, account: Account) -> None:
        for offer in await account.offers(await account.open()):
            check(
                offer.provider == account.provider.name,
                f"an offer's provider is {offer.provider!r}; give it the provider's name, {account.provider.name!r}",
            )
            for what, text in (("instance_type", offer.instance_type), ("region", offer.region)):
                check(text and text.strip(), f"an offer's {what} is {text!r}; give it the vendor's own name")

    @on_loop
    async def test_prices_are_figures_or_unknown(self, account: Account) -> None:
        for offer in await account.offers(await account.open()):
            for what, price in (("price", offer.price), ("on_demand_price", offer.on_demand_price)):
                check(
                    price is None or is_figure(price),
                    f"{what} of {offer.instance_type} is {price!r}; give US dollars per machine and hour, or None "
                    "where the vendor does not say",
                )
            highest = offer.highest_price
            check(
                highest is None or (is_figure(highest) and offer.price is not None and highest >= offer.price),
                f"highest_price of {offer.instance_type} is {highest!r}; give no less than its price, or None",
            )

    @on_loop
    async def test_markets_are_those_that_are_declared(self, account: Account) -> None:
        for offer in await account.offers(await account.open()):
            check(
                offer.market in ("spot", "on-demand"),
                f"market of {offer.instance_type} is {offer.market!r}; give 'spot' or 'on-demand'",
            )
            check(
                offer.market == "on-demand" or account.provider.capabilities.spot,
                f"{offer.instance_type} is offered on spot, and Capabilities(spot=False) is declared; declare "
                "spot=True, or offer it on demand",
            )

    @on_loop
    async def test_spot_offers_tell_what_the_machine_costs_on_demand(self, account: Account) -> None:
        needs(account.provider, "spot")
        for offer in await account.offers(await account.open()):
            check(
                offer.market != "spot" or offer.price is None or offer.on_demand_price is not None,
                f"{offer.instance_type} has a spot price and no on_demand_price; give both: savings are reckoned by "
                "them",
            )

    @on_loop
    async def test_figures_are_in_their_ranges(self, account: Account) -> None:
        for offer in await account.offers(await account.open()):
            kind = offer.instance_type
            check(
                offer.capacity is None or (type(offer.capacity) is int and offer.capacity >= 0),
                f"capacity of {kind} is {offer.capacity!r}; give how many can be had, or None where the vendor does "
                "not say",
            )
            for what, figure in (("vcpu", offer.vcpu), ("memory_gb", offer.memory_gb)):
                check(
                    is_figure(figure), f"{what} of {kind} is {figure!r}; give a number, 0 where the vendor does not say"
                )
            quantum = offer.billing_quantum
            check(
                is_figure(quantum) and quantum > 0,
                f"billing_quantum of {kind} is {quantum!r}; give the seconds up to which use is rounded, such as 1 or "
                "3600",
            )
            minimum = offer.billing_minimum
            check(
                is_figure(minimum),
                f"billing_minimum of {kind} is {minimum!r}; give the seconds that are paid at least, such as 60, or 0",
            )

    @on_loop
    async def test_offers_pickle_and_have_plain_details(self, account: Account) -> None:
        for offer in await account.offers(await account.open()):
            check(
                is_plain(offer.details),
                f"details of {offer.instance_type} are {offer.details!r}; keep strings, numbers, lists and dicts in "
                "them",
            )
            check(
                pickle.loads(pickle.dumps(offer)) == offer,
                f"the offer of {offer.instance_type} changes when it is pickled; keep plain values in it",
            )

    @on_loop
    async def test_an_impossible_request_gets_no_offer(self, account: Account) -> None:
        session = await account.open()
        try:
            offers = await session.offers(self.impossible())
        except Unavailable:
            return
        except ProviderError as error:
            raise Broken(
                f"offers raised {type(error).__name__} for a request that cannot be met; return an empty list, or "
                "raise Unavailable"
            ) from error
        check(
            not offers,
            f"{len(offers)} offer(s) came for a request that cannot be met, {self.impossible()!r}; return only what "
            "meets the request",
        )

    @on_loop
    async def test_an_offer_that_is_sold_no_more_is_refused_in_order(self, account: Account) -> None:
        session = await account.open()
        stale = evolve((await account.offers(session))[0], instance_type="sold-no-more")
        try:
            await session.launch(LaunchRequest(offer=stale, nodes=(0,), spec=account.spec))
        except ProviderError:
            await _nothing_came(session)


async def _nothing_came(session: Guarded) -> None:
    found = [machine.id for machine in await session.list_owned(session.identity.pool_id)]
    check(
        not found,
        f"launch raised and left {', '.join(found)} behind; an error means that nothing was created: return what was",
    )
