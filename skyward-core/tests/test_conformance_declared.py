"""The rules of capabilities, unusual questions and credentials: each is broken by a provider that the kit catches."""

from __future__ import annotations

import asyncio
import logging
import os.path
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from attrs import evolve
from conformance_bent import Case, Instance, LaunchRequest, Make, Straight, Whole, declared, session, whole
from conformance_teeth import assert_bites, rules_of

from skyward.errors import AuthenticationFailed, QuotaExceeded, Transient
from skyward.testing.conformance._asking import AskingRules
from skyward.testing.conformance._declared import DeclaredRules
from skyward.testing.conformance._secrets import SecretRules

# ---- what is declared ------------------------------------------------------------------------------------------------


class Porting(Straight):
    port: object = 2222

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: evolve(each, details={"port": self.port}) for name, each in found.items()}


class Wording(Porting):
    port = "2222"


class Speechless(Whole):
    def lookout(self, instance: Instance, /) -> str | None:
        return None


class Lasting(Whole):
    def script(self) -> str:
        return "#!/bin/sh\n"


class Bare(Whole):
    def script(self) -> str:
        return ""


class Plain(Straight):
    """Keeps of an owner what fits into a label."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        found = await self.inner.list_owned(pool_id)
        return [evolve(each, owner="".join(c for c in each.owner if c.isascii())) for each in found]


PORT = "test_the_port_of_a_running_machine_is_told_as_declared"
NOTICE = "test_a_notice_of_preemption_has_a_lookout_as_declared"
BOOT = "test_the_first_boot_tells_a_machine_its_end"
OWNER = "test_an_owner_with_unusual_characters_is_told_as_it_is"

DECLARED: list[tuple[str, Make, str]] = [
    (PORT, declared(ports=True), r"details\['port'\] of i-0 is None though it is RUNNING; say PENDING until"),
    (PORT, declared(Wording, ports=True), r"details\['port'\] of i-0 is '2222' though it is RUNNING; say PENDING"),
    (PORT, declared(Porting), r"details\['port'\] of i-0 is 2222, and Capabilities\(ports=False\) is .*; declare"),
    (
        NOTICE,
        declared(Straight),
        r"machine i-0 has no lookout, and Capabilities\(preemption_notice=True\) is .*; return",
    ),
    (
        NOTICE,
        whole(Speechless),
        r"machine i-0 has no lookout, and Capabilities\(preemption_notice=True\) is .*; return",
    ),
    (
        NOTICE,
        declared(Whole, preemption_notice=False),
        r"has a lookout, and Capabilities\(preem.*False\) is .*; declare",
    ),
    (BOOT, whole(Lasting), "what i-0 is given for its first boot does not tell its deadline; hand it"),
    (BOOT, whole(Bare), "what i-0 is given for its first boot does not tell its deadline; hand it"),
    (OWNER, session(Plain), "owner of i-0 is \"O'Neil.*caf@.*, and was .*at its launch; encode what the vendor's"),
]


# ---- questions -------------------------------------------------------------------------------------------------------


class Spelling(Straight):
    """Asks for what an address leads to."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe([os.path.basename(name) for name in ids])
        return {name: found[os.path.basename(name)] for name in ids if os.path.basename(name) in found}


class Routing(Straight):
    """Puts ids into an address as they are."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate([name.partition("?")[0] for name in ids])


class Collecting(Straight):
    """Addresses the collection where there is no id."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        every = [each.id for each in await self.inner.list_owned(self.identity.pool_id)]
        await self.inner.terminate(every if "" in ids else ids)


class Portion(Straight):
    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids[:100])


class Absent(Straight):
    """Keeps the question in the session while it waits."""

    asked: Any = ()

    async def describe(self, ids: Sequence[str], /) -> Any:
        self.asked = ids
        await asyncio.sleep(0.1)
        return await self.inner.describe(self.asked)


class Restless(Straight):
    """Keeps its account fresh, for good."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.task = asyncio.get_running_loop().create_task(asyncio.sleep(1e9), name="refreshing")


ANY_FORM = "test_an_id_of_any_form_names_one_machine_at_most"
MANY = "test_a_machine_is_found_among_many_ids"
TOGETHER = "test_questions_may_be_asked_side_by_side"
TASKS = "test_closing_leaves_no_task_behind"

ASKING: list[tuple[str, Make, str]] = [
    (
        ANY_FORM,
        session(Spelling),
        r"describe found \['../i-0', 'i-0'\] when asked for i-0 and for what is no id; ret",
    ),
    (ANY_FORM, session(Routing), r"terminate ended i-0 although it named only \[.*\]; end what has exactly that id"),
    (ANY_FORM, session(Collecting), r"terminate ended i-0 although it named only \[.*\]; end what has exactly that id"),
    (MANY, session(Portion), r"describe found \[\] when asked for i-0 and 150 unknown ids; ask in portions"),
    (
        TOGETHER,
        session(Absent),
        r"describe found \['i-0'\] and .* when asked at the same time .*; keep nothing of a call",
    ),
    (TASKS, session(Restless), r"1 task\(s\) of the session run on after close \(refreshing\); end them there"),
]


# ---- credentials -----------------------------------------------------------------------------------------------------


class Keyed(Whole):
    """Knows the account's key."""

    @property
    def key(self) -> str:
        [key] = self.premises.secrets()
        return key


class Frank(Keyed):
    def __repr__(self) -> str:
        return f"Frank(key={self.key!r})"


class Tracing(Keyed):
    async def offers(self, spec: Any, /) -> Any:
        logging.getLogger("acme.http").debug("GET https://acme.example/offers?key=%s", quote(self.key))
        return await self.inner.offers(spec)


class Detailed(Keyed):
    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: evolve(each, details={"env": [f"ACME_KEY={self.key}"]}) for name, each in found.items()}


class Accusing(Keyed):
    async def describe(self, ids: Sequence[str], /) -> Any:
        try:
            return await self.inner.describe(ids)
        except AuthenticationFailed as error:
            raise AuthenticationFailed(f"the key {self.key} is refused: set ACME_KEY") from error


class Causing(Keyed):
    """Hands on what the library has raised."""

    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except QuotaExceeded as error:
            raise error from OSError(f"402 for https://acme.example/machines?key={self.key}")


class Failing(Transient):
    def __init__(self, message: str, response: object) -> None:
        super().__init__(message)
        self.response = response


class Response:
    """With an open connection."""

    def __reduce__(self) -> Any:
        raise TypeError("has a connection")


class Attaching(Keyed):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient as error:
            raise Failing(error.message, Response()) from None


class Noting(Keyed):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await self.inner.launch(request)
        except Transient:
            logging.getLogger("acme").warning("no answer to %s", {"Authorization": f"Bearer {self.key}"})
            raise


class Provisioning(Keyed):
    def script(self) -> str:
        return f"#!/bin/sh\nexport ACME_KEY={self.key}\n"


TOLD = "test_credentials_are_told_to_nobody"
ERRORS = "test_errors_tell_no_credentials_and_pickle"
GIVEN = "test_what_a_machine_is_given_has_no_credentials"

SECRETS: list[tuple[str, Make, str]] = [
    (TOLD, whole(Frank), "the session tells a credential; leave it out"),
    (TOLD, whole(Tracing), "a log record tells a credential; leave it out"),
    (TOLD, whole(Detailed), "an instance tells a credential; leave it out"),
    (ERRORS, whole(Accusing), "an error tells a credential; leave it out"),
    (ERRORS, whole(Causing), "an error tells a credential; leave it out"),
    (ERRORS, whole(Attaching), r"Failing\(.*\) does not pickle \(has a connection\); give errors plain words"),
    (ERRORS, whole(Noting), "a log record tells a credential; leave it out"),
    (GIVEN, whole(Provisioning), "what i-0 is given for its first boot tells a credential; leave it out"),
]


@pytest.mark.parametrize(("test", "make", "says"), [*DECLARED, *ASKING, *SECRETS])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    tested = {test for test, *_ in [*DECLARED, *ASKING, *SECRETS]}
    assert tested == rules_of(DeclaredRules) | rules_of(AskingRules) | rules_of(SecretRules)


# ---- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "test"),
    [
        ("tags", OWNER),
        ("tags", "test_found_machines_tell_what_they_are_tagged_with"),
        ("tags", "test_everybody_tells_the_deadline_of_an_extended_machine"),
        ("tags", "test_machines_that_come_after_an_extension_have_the_new_deadline"),
        ("user_data", BOOT),
        ("user_data", GIVEN),
        ("self_termination", BOOT),
        ("self_termination", "test_a_machine_ends_itself_at_its_deadline"),
        ("self_termination", "test_a_machine_ends_itself_when_its_lease_runs_out"),
        ("spot", NOTICE),
    ],
)
def test_what_is_not_declared_is_not_asked_for(case: Case, capability: str, test: str) -> None:
    provider = declared(Whole, **{capability: False})(case)
    with pytest.raises(pytest.skip.Exception, match=rf"Fake declares Capabilities\({capability}=False\)"):
        getattr(case, test)(provider)


def test_a_fault_that_the_vendor_does_not_play_is_named(case: Case) -> None:
    case.premises.faults = ()
    with pytest.raises(pytest.skip.Exception, match="does not play LOST_REPLY"):
        case.test_a_lost_reply_makes_no_second_machine(case.cloud.provider)


def test_without_a_vendor_its_rules_are_left_out() -> None:
    class Alone(Case):
        def vendor(self) -> None:
            return None

    case = Alone()
    with case.cloud, pytest.raises(pytest.skip.Exception, match=r"vendor\(\) gives no server"):
        case.test_launch_gives_each_node_one_machine(case.cloud.provider)  # nobody can tell what exists, then
        case.test_a_machine_that_ended_by_itself_is_told_gone(case.cloud.provider)
