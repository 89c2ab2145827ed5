"""The rules of a provider's settings and offers: each is broken by a provider that the kit catches."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

import numpy as np
import pytest
from attrs import evolve, field, frozen
from conformance_bent import EVERYTHING, Bent, Case, LaunchRequest, Make, Offer, Straight, Whole, known, session
from conformance_teeth import assert_bites, rules_of

from skyward.errors import AuthenticationFailed, ProviderError, QuotaExceeded, Unavailable
from skyward.spi import Capabilities, Finding, PoolIdentity
from skyward.testing.conformance import Broken, ProviderConformance
from skyward.testing.conformance._offers import OfferRules
from skyward.testing.conformance._settings import SettingsRules


def test_the_provider_that_the_others_are_made_of_breaks_no_rule(case: Case) -> None:
    case.refused = Refusing(case.cloud.provider)
    for name in sorted(rules_of(ProviderConformance) - {"test_a_wrong_host_key_is_refused"}):  # which needs a real one
        getattr(case, name)(Bent(case.cloud.provider, Whole, capabilities=EVERYTHING))
    assert case.cloud.alive == []
    assert case.premises.things == set()
    assert case.cloud.open_sessions == 0


# ---- settings --------------------------------------------------------------------------------------------------------


class Unhashable(Bent):
    __hash__ = None  # type: ignore[assignment]


class Unpicklable(Bent):
    def __reduce__(self) -> Any:
        raise TypeError("holds a client")


@frozen
class Numbered(Bent):
    """No two are equal."""

    number: int = field(init=False, factory=itertools.count().__next__)


@frozen
class Eager(Bent):
    """Asks its server when it is made."""

    def __attrs_post_init__(self) -> None:
        with socket.socket():
            pass


@frozen
class Loading(Bent):
    def __attrs_post_init__(self) -> None:
        import rich  # noqa: F401


@frozen
class Loaded(Bent):
    """The module that it stands in has imported what it should have left to `open`."""


def with_sdk(name: str, kind: type[Bent]) -> Make:
    def make(case: Case) -> Any:
        case.sdks = (name,)
        return kind(case.cloud.provider)

    return make


class Greedy(Bent):
    async def open(self, identity: PoolIdentity, /) -> Any:
        opened = self.kind(await self.inner.open(identity), identity, self)
        [offer, *_] = await opened.offers(Case().spec())
        await opened.launch(LaunchRequest(offer=offer, nodes=(0,), spec=Case().spec()))
        return opened


class Refusing(Bent):
    async def open(self, identity: PoolIdentity, /) -> Any:
        raise AuthenticationFailed("Fake refuses the key: set FAKE_API_KEY or write it to ~/.fake/key")


class Curt(Bent):
    async def open(self, identity: PoolIdentity, /) -> Any:
        raise AuthenticationFailed("no")


def finding(*answer: Any) -> Make:
    """Settings whose check gives this; nothing for one that buys a machine first."""

    @known
    class Checking(Bent):
        async def check(self) -> Any:
            if not answer:
                identity = PoolIdentity(pool_id="check", owner="me@here", deadline=None, lease=None, token=b"t" * 32)
                await (await Greedy(self.inner).open(identity)).close()
                return [Finding(subject="launching", detail="works")]
            return answer[0]

    return lambda case: Checking(case.cloud.provider)


class Once(Straight):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


class Tidy(Straight):
    async def close(self) -> None:
        await self.inner.terminate([each.id for each in await self.inner.list_owned(self.identity.pool_id)])
        await super().close()


def refused(kind: type[Bent]) -> Make:
    def make(case: Case) -> Any:
        case.refused = kind(case.cloud.provider)
        return Bent(case.cloud.provider)

    return make


def declared(**facts: Any) -> Make:
    return lambda case: Bent(case.cloud.provider, **facts)


SETTINGS: list[tuple[str, Make, str]] = [
    ("test_settings_are_a_value", lambda case: Unhashable(case.cloud.provider), "cannot be hashed .*; make its class"),
    (
        "test_settings_are_a_value",
        lambda case: Unpicklable(case.cloud.provider),
        "does not pickle .*; keep plain values",
    ),
    (
        "test_settings_made_alike_are_equal",
        lambda case: Numbered(case.cloud.provider),
        "are not equal; compare by value",
    ),
    ("test_name_and_capabilities_are_declared", declared(name=""), "name is ''; set the class attribute"),
    ("test_name_and_capabilities_are_declared", declared(capabilities={}), "capabilities are {}; set the class"),
    (
        "test_name_and_capabilities_are_declared",
        declared(capabilities=Capabilities(default_lease=-1)),
        "default_lease is -1; give seconds, or None",
    ),
    (
        "test_name_and_capabilities_are_declared",
        declared(capabilities=Capabilities(launch_limit=0)),
        "launch_limit is 0; give seconds, or leave it out",
    ),
    (
        "test_settings_load_no_sdk_and_ask_nobody",
        lambda case: Eager(case.cloud.provider),
        "opens a socket; do that inside open",
    ),
    ("test_settings_load_no_sdk_and_ask_nobody", with_sdk("rich", Loading), "imports rich; do that inside"),
    (
        "test_settings_load_no_sdk_and_ask_nobody",
        with_sdk("numpy", Loaded),
        "numpy is imported by the settings' module; import it inside",
    ),
    (
        "test_opening_and_asking_for_offers_creates_nothing",
        lambda case: Greedy(case.cloud.provider),
        "i-0 came into being before any launch; create",
    ),
    ("test_refused_credentials_say_what_to_set", refused(Bent), "went through open and offers; raise Authentication"),
    ("test_refused_credentials_say_what_to_set", refused(Curt), "says 'no'; name the variable or the file"),
    (
        "test_a_check_tells_what_it_found_and_creates_nothing",
        finding([]),
        r"check returned \[\]; return a Finding for each",
    ),
    (
        "test_a_check_tells_what_it_found_and_creates_nothing",
        finding(["all is well"]),
        "returned .*; return a Finding for each",
    ),
    (
        "test_a_check_tells_what_it_found_and_creates_nothing",
        finding([Finding(subject="key", level="bad")]),  # type: ignore[arg-type]
        "is no finding; give it a subject",
    ),
    (
        "test_a_check_tells_what_it_found_and_creates_nothing",
        finding([Finding(subject="key", level="problem", detail="refused")]),
        "the problem 'key' has no remedy; say in remedy",
    ),
    ("test_a_check_tells_what_it_found_and_creates_nothing", finding(), "check has created i-0; let it look only"),
    ("test_a_session_can_be_closed_twice", session(Once), "a second close raised RuntimeError: closed already; raise"),
    ("test_closing_leaves_machines_alone", session(Tidy), "i-0 is gone after close; leave machines to terminate"),
]


# ---- offers ----------------------------------------------------------------------------------------------------------


def sells(**facts: Any) -> Make:
    """Offers of which these facts are wrong."""

    @known
    class Selling(Straight):
        async def offers(self, spec: Any, /) -> list[Offer]:
            return [evolve(offer, **facts) for offer in await self.inner.offers(spec)]

    return session(Selling)


class Generous(Straight):
    """Offers whatever it has, for whatever is asked."""

    async def offers(self, spec: Any, /) -> Any:
        return await self.inner.offers(Case().spec())


class Cross(Straight):
    async def offers(self, spec: Any, /) -> Any:
        if spec.machine:
            raise QuotaExceeded("no such machine")
        return await self.inner.offers(spec)


class Terse(Straight):
    async def offers(self, spec: Any, /) -> Any:
        return (await self.inner.offers(spec))[0]


class Barren(Straight):
    async def offers(self, spec: Any, /) -> Any:
        return []


class Untranslated(Straight):
    """Lets the vendor's own errors through."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        if request.offer.instance_type == "sold-no-more":
            raise KeyError("sold-no-more")
        return await self.inner.launch(request)


class Halfway(Straight):
    """Creates, and then complains."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        made = await self.inner.launch(request)
        if request.offer.instance_type == "sold-no-more":
            raise Unavailable("sold out")
        return made


OFFERS: list[tuple[str, Make, str]] = [
    ("test_offers_name_provider_machine_and_region", sells(provider="Other"), "provider is 'Other'; give it"),
    ("test_offers_name_provider_machine_and_region", sells(instance_type=" "), "instance_type is ' '; give it"),
    ("test_offers_name_provider_machine_and_region", sells(region=""), "region is ''; give it"),
    ("test_offers_name_provider_machine_and_region", session(Terse), "; return a list of Offer values"),
    ("test_offers_name_provider_machine_and_region", session(Barren), "no offer for .*; return a request from spec"),
    ("test_prices_are_figures_or_unknown", sells(price=-0.25), "price of small is -0.25; give US dollars"),
    ("test_prices_are_figures_or_unknown", sells(price="0.25"), "price of small is '0.25'; give US dollars"),
    (
        "test_prices_are_figures_or_unknown",
        sells(on_demand_price=float("nan")),
        "on_demand_price of small is nan; give",
    ),
    ("test_markets_are_those_that_are_declared", sells(market="weekly"), "market of small is 'weekly'; give 'spot'"),
    (
        "test_markets_are_those_that_are_declared",
        declared(capabilities=Capabilities(spot=False)),
        "small is offered on spot, and .*; declare spot=True",
    ),
    ("test_spot_offers_tell_what_the_machine_costs_on_demand", sells(on_demand_price=None), "no on_demand_price; give"),
    ("test_figures_are_in_their_ranges", sells(capacity=-1), "capacity of small is -1; give how many"),
    ("test_figures_are_in_their_ranges", sells(capacity=2.5), "capacity of small is 2.5; give how many"),
    ("test_figures_are_in_their_ranges", sells(vcpu=None), "vcpu of small is None; give a number"),
    ("test_figures_are_in_their_ranges", sells(memory_gb=-16), "memory_gb of small is -16; give a number"),
    ("test_figures_are_in_their_ranges", sells(billing_quantum=0), "billing_quantum of small is 0; give the seconds"),
    ("test_figures_are_in_their_ranges", sells(billing_minimum=-1), "billing_minimum of small is -1; give the seconds"),
    ("test_offers_pickle_and_have_plain_details", sells(details={"zone": {1, 2}}), "details of small are .*; keep"),
    ("test_offers_pickle_and_have_plain_details", sells(vcpu=np.float64("nan")), "changes when it is pickled; keep"),
    (
        "test_an_impossible_request_gets_no_offer",
        session(Generous),
        r"2 offer\(s\) came for .*; return only what meets",
    ),
    ("test_an_impossible_request_gets_no_offer", session(Cross), "raised QuotaExceeded for .*; return an empty list"),
    (
        "test_an_offer_that_is_sold_no_more_is_refused_in_order",
        session(Untranslated),
        "launch raised KeyError: .*; raise",
    ),
    ("test_an_offer_that_is_sold_no_more_is_refused_in_order", session(Halfway), "left i-0 behind; an error means"),
]


@pytest.mark.parametrize(("test", "make", "says"), [*SETTINGS, *OFFERS])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    tested = {test for test, *_ in [*SETTINGS, *OFFERS]}
    assert tested == rules_of(SettingsRules) | rules_of(OfferRules)


def test_what_a_provider_raises_of_the_closed_set_is_its_answer(case: Case) -> None:
    """A test of the kit ends with it, and the author sees what the provider said."""
    case.cloud.script("offers", QuotaExceeded("10 of 10 machines are in use: raise the quota of project x"))
    with pytest.raises(ProviderError, match="quota of project x"):
        case.test_prices_are_figures_or_unknown(Bent(case.cloud.provider))


def test_a_passing_failure_is_tried_again_as_core_does(case: Case) -> None:
    from skyward.errors import Transient

    case.cloud.script("offers", Transient("slow down", retry_after=7), Transient("once more"))
    case.test_prices_are_figures_or_unknown(Bent(case.cloud.provider))
    assert len(case.cloud.called("offers")) == 3


def test_an_answer_that_cancels_itself_is_a_mistake(case: Case) -> None:
    @known
    class Fleeing(Straight):
        async def offers(self, spec: Any, /) -> Any:
            raise asyncio.CancelledError

    with pytest.raises(Broken, match="ended as if it were cancelled, and nobody cancelled it; raise Transient"):
        case.test_prices_are_figures_or_unknown(Bent(case.cloud.provider, Fleeing))
