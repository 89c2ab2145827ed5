"""The rules of orders and refusals that go wrong: each is broken by a provider that the kit catches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, LaunchRequest, Straight
from conformance_teeth import assert_bites, rules_of

from skyward.errors import AuthenticationFailed, QuotaExceeded, SkywardError, Transient, Unavailable
from skyward.testing.conformance._orders import OrderRules
from skyward.testing.conformance._refusing import RefusalRules

# ---- orders ----------------------------------------------------------------------------------------------------------


class Resending(Straight):
    """Orders again when the answer is unclear."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            return await self.inner.launch(request)


class Making(Straight):
    """The same by another request, which is none of those that are counted."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            return self.inner.create(request)  # type: ignore[attr-defined]


class TaggingOnSuccess(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            for record in self.provider.inner._backend.living():
                record.pool_id = record.owner = ""
            raise


class Inventing(Straight):
    """Takes an unclear answer for a machine."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            return [Instance(id="i-new", state="pending", node=0)]  # type: ignore[arg-type]


class Atomic(Straight):
    """All machines or none, by its own account."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        made = await self.inner.launch(request)
        if len(made) < len(request.nodes):
            raise Unavailable("not enough of them")
        return made


class Discarding(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        made = await self.inner.launch(request)
        return made if len(made) == len(request.nodes) else []


class Renumbering(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        made = await self.inner.launch(request)
        return made if len(made) == len(request.nodes) else [evolve(each, node=7) for each in made]


class Restarting(Straight):
    """Begins from scratch with what is missing."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        await self.inner.terminate([each.id for each in await self.inner.list_owned(self.identity.pool_id)])
        return await self.inner.launch(request)


class Empty(Straight):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Unavailable:
            return []


class Reserving(Straight):
    """Makes the machine before it hears that it cannot be had."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except (Unavailable, QuotaExceeded):
            self.inner.create(request)  # type: ignore[attr-defined]
            raise


def retelling(told: type[SkywardError], as_what: type[SkywardError]) -> type[Straight]:
    """Takes one error for another one, whatever it does."""

    async def instead(call: Callable[[], Any]) -> Any:
        try:
            return await call()
        except told:
            raise as_what("it did not work: try again") from None

    class Retelling(Straight):
        async def offers(self, spec: Any, /) -> Any:
            return await instead(lambda: self.inner.offers(spec))

        async def launch(self, request: LaunchRequest, /) -> Any:
            return await instead(lambda: self.inner.launch(request))

        async def describe(self, ids: Sequence[str], /) -> Any:
            return await instead(lambda: self.inner.describe(ids))

        async def terminate(self, ids: Sequence[str], /) -> None:
            await instead(lambda: self.inner.terminate(ids))

        async def list_owned(self, pool_id: str | None = None, /) -> Any:
            return await instead(lambda: self.inner.list_owned(pool_id))

    return Retelling


LOST = "test_a_lost_reply_makes_no_second_machine"
LATE = "test_an_error_after_the_effect_makes_no_second_machine"
EARLY = "test_an_error_before_the_effect_makes_no_second_machine"
PARTIAL = "test_a_partial_launch_loses_none_of_those_that_came"
SOLD_OUT = "test_capacity_that_is_gone_is_unavailable"
QUOTA = "test_a_quota_is_told_as_one"

ORDERS: list[tuple[str, type[Straight], str]] = [
    (LOST, Resending, "2 creates reached the vendor for one machine after a lost reply .*; send each once"),
    (LOST, Making, "i-0, i-1 exist after a lost reply to a create, and one machine was ordered; look"),
    (LOST, TaggingOnSuccess, "i-0 exists after a lost reply to a create and list_owned does not find it; tag"),
    (LOST, retelling(Transient, AuthenticationFailed), "launch raised AuthenticationFailed: .* after a lost .*; raise"),
    (LATE, Resending, "2 creates reached the vendor for one machine after an error that came after .*; send"),
    (LATE, Making, "i-0, i-1 exist after an error that came after the effect"),
    (LATE, Inventing, "launch returned i-new after an error .*, which does not exist; return"),
    (EARLY, Resending, "2 creates reached the vendor for one machine after an error that came before .*; send"),
    (EARLY, Inventing, "launch returned i-new after an error that came before .*, which does not exist; return"),
    (PARTIAL, Atomic, "launch raised Unavailable: not enough of them and left i-0 behind when fewer .*; return those"),
    (PARTIAL, Discarding, "i-0 exists and launch did not return it when fewer came .*; return every machine"),
    (PARTIAL, Renumbering, r"machines for the nodes \[7\] when fewer came .*; give each"),
    (PARTIAL, Restarting, "i-0 is gone once the missing machines were launched; leave alone"),
    (SOLD_OUT, retelling(Unavailable, Transient), "launch raised Transient: .* when the machine was sold out; raise"),
    (SOLD_OUT, Empty, "launch returned no machine when it was sold out; raise Unavailable"),
    (SOLD_OUT, Reserving, "i-0 exists after a refused order; an error means"),
    (QUOTA, retelling(QuotaExceeded, Unavailable), "launch gave Unavailable: .* when the account's limit .*; raise"),
    (QUOTA, Reserving, "i-0 exists after a refused order; an error means"),
]


# ---- refusals --------------------------------------------------------------------------------------------------------


def calm(about: type[SkywardError]) -> type[Straight]:
    """Answers that there is nothing when it is refused an answer."""

    class Calm(Straight):
        async def offers(self, spec: Any, /) -> Any:
            try:
                return await self.inner.offers(spec)
            except about:
                return []

        async def describe(self, ids: Sequence[str], /) -> Any:
            try:
                return await self.inner.describe(ids)
            except about:
                return {}

        async def terminate(self, ids: Sequence[str], /) -> None:
            try:
                await self.inner.terminate(ids)
            except about:
                return

        async def list_owned(self, pool_id: str | None = None, /) -> Any:
            try:
                return await self.inner.list_owned(pool_id)
            except about:
                return []

    return Calm


class Unlisting(Straight):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        try:
            return await self.inner.list_owned(pool_id)
        except (Transient, AuthenticationFailed):
            return []


class Unoffering(Straight):
    async def offers(self, spec: Any, /) -> Any:
        try:
            return await self.inner.offers(spec)
        except Transient:
            return []


class Offended(Straight):
    """Never gets over a refusal."""

    refusal: SkywardError | None = None

    async def describe(self, ids: Sequence[str], /) -> Any:
        if self.refusal is not None:
            raise self.refusal
        try:
            return await self.inner.describe(ids)
        except (Transient, AuthenticationFailed) as error:
            self.refusal = error
            raise


class Impatient(Straight):
    """Goes on asking beside its first attempt."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            await self.inner.launch(request)
            return await self.inner.launch(request)


QUESTION = "test_a_question_too_many_is_answered_in_the_end"
THROTTLED = "test_a_throttled_launch_makes_each_machine_once"
ENDED = "test_a_throttled_terminate_ends_all_the_same"
REFUSED = "test_credentials_that_are_refused_in_mid_life_are_told"
SERVES = "test_a_session_serves_on_when_its_credentials_do"

REFUSALS: list[tuple[str, type[Straight], str]] = [
    (QUESTION, calm(Transient), "describe left out what there is when the vendor refused .*; raise Transient"),
    (QUESTION, Unlisting, "list_owned left out what there is when the vendor refused .*; raise Transient"),
    (QUESTION, Unoffering, "offers left out what there is when the vendor refused .*; raise Transient"),
    (QUESTION, retelling(Transient, Unavailable), "describe raised Unavailable.* as one too many; raise Transient"),
    (QUESTION, Offended, "describe raised Transient.* again and again when one request .*; say in retry_after"),
    (THROTTLED, Impatient, "i-0, i-1 exists and launch returned i-1 after a request was refused .*; look up"),
    (THROTTLED, retelling(Transient, QuotaExceeded), "launch raised QuotaExceeded.* as one too many; raise Transient"),
    (ENDED, calm(Transient), "i-0, i-1 still there after terminate; end machines"),
    (ENDED, retelling(Transient, Unavailable), "terminate raised Unavailable.* as one too many; raise Transient"),
    (REFUSED, calm(AuthenticationFailed), r"describe gave {} with credentials that are refused; raise Authentication"),
    (REFUSED, Unlisting, r"list_owned gave \[\] with credentials that are refused; raise Authentication"),
    (
        REFUSED,
        retelling(AuthenticationFailed, Transient),
        "describe gave Transient.* are refused; raise Authentication",
    ),
    (REFUSED, Offended, "describe raises Authentication.* although the credentials are accepted again; keep no"),
    (SERVES, retelling(AuthenticationFailed, Transient), "describe raised Transient.* refused once; get new ones"),
    (SERVES, Offended, "describe raises Authentication.* although the credentials are accepted again; keep no"),
]


@pytest.mark.parametrize(("test", "kind", "says"), [*ORDERS, *REFUSALS])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, kind: type[Straight], says: str) -> None:
    assert_bites(case, test, Bent(case.cloud.provider, kind), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {test for test, *_ in [*ORDERS, *REFUSALS]} == rules_of(OrderRules) | rules_of(RefusalRules)
