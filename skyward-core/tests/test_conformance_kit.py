"""The rules of cancelled calls and of secrets, each broken by a provider that is caught; and the form of the kit."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, LaunchRequest, Straight
from conformance_teeth import assert_bites, rules_of

from skyward.errors import AuthenticationFailed, ConfigurationError
from skyward.spi import Capabilities, Provider
from skyward.testing.conformance import ProviderConformance, SelectorConformance, deviates
from skyward.testing.conformance._cancelling import CancellingRules


class TaggingLater(Straight):
    """Creates first and tags then, so that a machine may stay without a tag."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        nobodys = await self.provider.inner.open(evolve(self.identity, pool_id="", owner=""))
        made = await nobodys.launch(request)
        await asyncio.sleep(0.1)
        for machine in made:
            record = self.provider.inner._backend.records[machine.id]
            record.pool_id, record.owner = self.identity.pool_id, self.identity.owner
        await nobodys.close()
        return [evolve(machine, pool_id=self.identity.pool_id) for machine in made]


class Stubborn(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except asyncio.CancelledError:
            return []


class Grumbling(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None


class Clinging(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except asyncio.CancelledError:
            await asyncio.Event().wait()


class OneShot(Straight):
    """Notes what it ends before it has ended it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended: set[str] = set()

    async def terminate(self, ids: Sequence[str], /) -> None:
        left = [name for name in ids if name not in self.ended]
        self.ended |= set(ids)
        await asyncio.sleep(0)
        await self.inner.terminate(left)


class Busy(Straight):
    """Answers one question at a time, and forgets that the last one was given up."""

    busy = False

    async def offers(self, spec: Any, /) -> Any:
        self.busy = True
        offers = await self.inner.offers(spec)
        self.busy = False
        return offers

    async def describe(self, ids: Sequence[str], /) -> Any:
        return {} if self.busy else await self.inner.describe(ids)


class Frank(Straight):
    def __repr__(self) -> str:
        return f"Frank(token={self.identity.token.hex()})"


class Chatty(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        logging.getLogger("acme.http").debug("user data: %s", self.identity.token.hex())
        return await self.inner.launch(request)


class Labelling(Straight):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        found = await self.inner.list_owned(pool_id)
        return [evolve(each, details={"labels": [repr(self.identity.token)]}) for each in found]


CANCELLING: list[tuple[str, type[Straight], str]] = [
    (
        "test_a_cancelled_launch_leaves_no_machine_that_is_not_found",
        TaggingLater,
        r"i-\d exists after a cancelled call and list_owned does not find it; tag machines in the very request",
    ),
    (
        "test_a_cancelled_launch_leaves_no_machine_that_is_not_found",
        Stubborn,
        "launch went on as if nothing were when it was cancelled; let CancelledError pass",
    ),
    (
        "test_a_cancelled_launch_leaves_no_machine_that_is_not_found",
        Grumbling,
        "launch raised RuntimeError: interrupted when it was cancelled; let CancelledError pass",
    ),
    (
        "test_a_cancelled_launch_leaves_no_machine_that_is_not_found",
        Clinging,
        "launch went on for 30 s after it was cancelled; let CancelledError pass",
    ),
    ("test_a_cancelled_terminate_can_be_repeated", OneShot, "i-0 still there after terminate; end"),
    (
        "test_a_session_is_of_use_after_a_cancelled_question",
        Busy,
        r"describe found \[\] .* after a cancelled offers; keep",
    ),
    ("test_the_token_is_told_to_nobody", Frank, "the session tells the pool's token; leave it out"),
    ("test_the_token_is_told_to_nobody", Chatty, "a log record tells the pool's token; leave it out"),
    ("test_the_token_is_told_to_nobody", Labelling, "an instance tells the pool's token; leave it out"),
]


@pytest.mark.parametrize(("test", "kind", "says"), CANCELLING)
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, kind: type[Straight], says: str) -> None:
    assert_bites(case, test, Bent(case.cloud.provider, kind), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {test for test, *_ in CANCELLING} == rules_of(CancellingRules)


# ---- the form of the kit ---------------------------------------------------------------------------------------------


def test_what_a_provider_declares_closes_tests(case: Case) -> None:
    provider: Any = Bent(case.cloud.provider, capabilities=Capabilities(spot=False, private_network=False))
    with pytest.raises(pytest.skip.Exception, match=r"Fake declares Capabilities\(spot=False\)"):
        case.test_spot_offers_tell_what_the_machine_costs_on_demand(provider)
    with pytest.raises(pytest.skip.Exception, match=r"Fake declares Capabilities\(private_network=False\)"):
        case.test_running_machines_have_an_address_for_their_neighbours(provider)


def test_what_an_author_has_not_given_closes_tests(case: Case) -> None:
    provider: Provider = case.cloud.provider
    case.short_life = case.short_lease = None
    with pytest.raises(pytest.skip.Exception, match="short_life is not set"):
        case.test_a_machine_ends_itself_at_its_deadline(provider)
    with pytest.raises(pytest.skip.Exception, match="short_lease is not set"):
        case.test_a_machine_ends_itself_when_its_lease_runs_out(provider)
    with pytest.raises(pytest.skip.Exception, match=r"unauthorised\(\) gives no provider"):
        case.test_refused_credentials_say_what_to_set(provider)


def test_the_kit_of_a_provider_has_more_than_sixty_rules() -> None:
    assert len(rules_of(ProviderConformance)) > 60


def test_a_test_of_the_kit_cannot_be_overridden_without_a_reason() -> None:
    with pytest.raises(ConfigurationError, match=r"Silent overrides test_it_serves_with_one_provider .* put @deviates"):

        class Silent(SelectorConformance):
            def test_it_serves_with_one_provider(self, selector: Any) -> None:
                pass


def test_nor_taken_away_nor_overridden_by_a_class_beside_it() -> None:
    with pytest.raises(ConfigurationError, match="overrides test_any_market_will_do"):
        type("Without", (SelectorConformance,), {"test_any_market_will_do": None})

    class Beside:
        def test_any_market_will_do(self, selector: Any) -> None:
            pass

    with pytest.raises(ConfigurationError, match="Beside overrides test_any_market_will_do"):
        type("Mixed", (Beside, SelectorConformance), {})
    type("Beneath", (SelectorConformance, Beside), {})  # here the kit's own goes first


def test_a_reason_lets_a_test_be_overridden_also_further_down() -> None:
    class Reasoned(SelectorConformance):
        @deviates("it serves two providers or more, as its name says")
        def test_it_serves_with_one_provider(self, selector: Any) -> None:
            pass

    class Further(Reasoned):
        pass

    assert Further().test_it_serves_with_one_provider(None) is None
    with pytest.raises(ConfigurationError, match="overrides test_it_serves_with_one_provider"):

        class Again(Reasoned):
            def test_it_serves_with_one_provider(self, selector: Any) -> None:
                pass


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_has_words(reason: str) -> None:
    with pytest.raises(ConfigurationError, match="reason of a deviation is empty; say why"):
        deviates(reason)


def test_helpers_and_tests_of_an_author_are_nobody_elses_business() -> None:
    class More(SelectorConformance):
        def spec(self) -> Any:
            return super().spec()

        def test_of_my_own(self) -> None:
            pass

    More().test_of_my_own()


WITHOUT_PYTEST = """
import sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None
import unittest
import skyward as sky
from skyward.testing import *
from skyward.testing import AllocationConformance, ProviderConformance
AllocationConformance().test_any_market_will_do(sky.Allocation.Cheapest())
ProviderConformance().test_settings_are_a_value(sky.Local())
try:
    ProviderConformance().test_refused_credentials_say_what_to_set(sky.Local())
except unittest.SkipTest as skipped:
    print(skipped)
"""


def test_the_kit_can_be_used_where_pytest_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_PYTEST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "unauthorised() gives no provider" in done.stdout


def test_a_provider_that_cannot_be_opened_says_why_and_nothing_is_looked_for(case: Case) -> None:
    case.cloud.script("open", *[AuthenticationFailed("the key is refused: set FAKE_API_KEY")] * 9)
    with pytest.raises(AuthenticationFailed) as caught:
        case.test_figures_are_in_their_ranges(case.cloud.provider)
    assert not getattr(caught.value, "__notes__", [])
    assert len(case.cloud.called("open")) == 1
