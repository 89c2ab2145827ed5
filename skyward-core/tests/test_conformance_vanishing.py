"""The rules of ends and belongings: each is broken by a provider that the kit catches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, LaunchRequest, Make, Premises, Straight, Whole, session, whole
from conformance_teeth import assert_bites, rules_of

from skyward.errors import AuthenticationFailed, Transient
from skyward.spi import InstanceState
from skyward.testing.conformance._leaving import LeavingRules
from skyward.testing.conformance._vanishing import VanishingRules

# ---- ends ------------------------------------------------------------------------------------------------------------


class Remembering(Straight):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: dict[str, Instance] = {}

    async def launch(self, request: LaunchRequest, /) -> Any:
        made = await self.inner.launch(request)
        self.seen |= {each.id: each for each in made}
        return made


class Faithful(Remembering):
    """Believes that its machines are there until it has ended them itself."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        return {**await self.inner.describe(ids), **{name: self.seen[name] for name in ids if name in self.seen}}

    async def terminate(self, ids: Sequence[str], /) -> None:
        self.seen = {name: each for name, each in self.seen.items() if name not in ids}
        await self.inner.terminate(ids)


class Listing(Straight):
    """Goes by a list that is never shortened."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        records = self.provider.inner._backend.records.values()
        found = [Instance(id=each.id, state=InstanceState.RUNNING, pool_id=each.pool_id) for each in records]
        return [each for each in found if pool_id in (None, each.pool_id)]


class Timid(Straight):
    """Lists nothing of a pool that has lost a machine."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        records = self.provider.inner._backend.records.values()
        return [] if any(each.why == "lost" for each in records) else await self.inner.list_owned(pool_id)


def billing(case: Case) -> Any:
    """A vendor that goes on billing what has ended by itself."""

    class Vendor(Premises):
        def existing(self) -> Any:
            lost = [each.id for each in case.records().values() if each.why == "lost"]
            return [*super().existing(), *lost]

    case.premises = Vendor(case.cloud._backend)
    return Bent(case.cloud.provider)


class Panicking(Straight):
    """Takes the pool for lost with one of its machines."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        lost = any(each.state is InstanceState.GONE for each in found.values())
        return {name: evolve(each, state=InstanceState.GONE) for name, each in found.items()} if lost else found


class Choosy(Straight):
    """Gives up at the first machine that is gone."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        found = await self.inner.describe(ids)
        if all(found[name].state is not InstanceState.GONE for name in ids if name in found):
            await self.inner.terminate(ids)


class Blind(Choosy):
    """The same, and calls all of them gone."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return found if all(each.state is not InstanceState.GONE for each in found.values()) else {}


class Swallowing(Straight):
    async def terminate(self, ids: Sequence[str], /) -> None:
        try:
            await self.inner.terminate(ids)
        except Transient:
            return


class Misreading(Straight):
    async def terminate(self, ids: Sequence[str], /) -> None:
        try:
            await self.inner.terminate(ids)
        except Transient as error:
            raise AuthenticationFailed("the server says no: set FAKE_API_KEY") from error


class OneShot(Straight):
    """Notes what it ends before it has ended it, and so believes it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended: set[str] = set()

    async def describe(self, ids: Sequence[str], /) -> Any:
        return {name: each for name, each in (await self.inner.describe(ids)).items() if name not in self.ended}

    async def terminate(self, ids: Sequence[str], /) -> None:
        left = [name for name in ids if name not in self.ended]
        self.ended |= set(ids)
        await self.inner.terminate(left)


class Untagging(Straight):
    """Takes the tags away first."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        for name in ids:
            if name in self.provider.inner._backend.records:
                record = self.provider.inner._backend.records[name]
                record.pool_id = record.owner = ""
        await self.inner.terminate(ids)


GONE = "test_a_machine_that_ended_by_itself_is_told_gone"
COSTS = "test_what_has_ended_by_itself_is_found_as_long_as_it_costs"
AFTER = "test_what_has_ended_by_itself_can_be_terminated"
AGAIN = "test_a_terminate_that_meets_an_error_can_be_repeated"
FOUND = "test_what_a_failed_terminate_has_left_is_still_found"

ENDS: list[tuple[str, Make, str]] = [
    (GONE, session(Faithful), "i-0 has ended by itself, and describe takes it for alive; say GONE"),
    (GONE, session(Panicking), "describe calls i-1 gone after the end of i-0; tell of each its own state"),
    (COSTS, session(Listing), "i-0 has ended by itself, and list_owned takes it for alive; leave it out"),
    (COSTS, billing, "i-0 has ended by itself and is still billed, and list_owned does not find it; list all"),
    (COSTS, session(Timid), "list_owned does not find i-1 after the end of i-0; list all that exists"),
    (AFTER, session(Choosy), "i-1 still there after terminate; end machines for good"),
    (AFTER, session(Blind), "i-1 exists after terminate, for one of them had ended by itself; end all"),
    (AGAIN, session(Swallowing), "i-0, i-1 exists after a terminate that raised nothing, and the server failed; end"),
    (AGAIN, session(Misreading), "terminate raised AuthenticationFailed: .* for an error of the server; raise Trans"),
    (AGAIN, session(OneShot), "i-0, i-1 exists after a second terminate, for the first one had met an error; end all"),
    (FOUND, session(Untagging), "i-0, i-1 exists after a terminate that met an error and list_owned does not find it"),
]


# ---- belongings ------------------------------------------------------------------------------------------------------


class Keeping(Whole):
    def clear(self) -> None:
        pass


class Prepared(Whole):
    """Makes the key when it is asked for offers, and removes it with the last machine alone."""

    async def offers(self, spec: Any, /) -> Any:
        self.premises.things.add(f"key-{self.identity.pool_id}")
        return await self.inner.offers(spec)

    async def close(self) -> None:
        await self.inner.close()


class Leaving(Whole):
    """Removes the key with the last machine alone."""

    async def close(self) -> None:
        await self.inner.close()


class Promising(Whole):
    async def launch(self, request: LaunchRequest, /) -> Any:
        try:
            return await super().launch(request)
        except Exception:
            return []


class OwnOnly(Whole):
    """Tells of its own pool's things."""

    async def list_left(self, pool_id: str | None = None, /) -> Any:
        found = await super().list_left(pool_id)
        return [each for each in found if each.pool_id == self.identity.pool_id]


class Particular(Whole):
    async def list_left(self, pool_id: str | None = None, /) -> Any:
        return [] if pool_id is None else await super().list_left(pool_id)


class Mixing(Whole):
    async def list_left(self, pool_id: str | None = None, /) -> Any:
        records = self.provider.inner._backend.records.values()
        ended = [Instance(id=each.id, state=InstanceState.GONE, pool_id=each.pool_id) for each in records]
        return [*await super().list_left(pool_id), *ended]


class Untagged(Whole):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return await self.inner.list_owned(pool_id or self.identity.pool_id)


class Grasping(Whole):
    def lives(self, pool_id: str) -> bool:
        return False

    def clear(self) -> None:
        if not super().lives(self.identity.pool_id):
            super().clear()


LAST = "test_belongings_go_with_the_last_machine"
BOUGHT = "test_a_session_that_bought_nothing_leaves_nothing"
FAILED = "test_a_launch_that_failed_leaves_nothing"
ORPHAN = "test_an_orphan_and_its_belongings_are_ended_without_local_state"
LIVING = "test_what_a_living_pool_has_is_not_taken_for_left_over"

BELONGINGS: list[tuple[str, Make, str]] = [
    (LAST, whole(Keeping), r"key-conformance-\w+ exists after the end of the last machine and close; remove what the"),
    (BOUGHT, whole(Prepared), r"key-conformance-\w+ exists after the close of a session that has bought nothing; rem"),
    (FAILED, whole(Leaving), r"key-conformance-\w+ exists after a launch that failed and close; remove what the pool"),
    (FAILED, whole(Promising), r"launch returned \[\] when nothing was to be had; raise Unavailable"),
    (ORPHAN, whole(OwnOnly), r"key-conformance-\w+ is left of a pool whose client was killed, .*; remove it with"),
    (ORPHAN, whole(Particular), r"list_left\(\) does not tell of key-conformance-\w+, .*; without a pool it is asked"),
    (ORPHAN, whole(Mixing), r"list_left tells of i-\d, .*which is a machine; list_owned is for those"),
    (ORPHAN, whole(Untagged), r"list_owned\(\) does not find i-0, i-1; tag every machine"),
    (LIVING, whole(Grasping), r"list_left tells of key-conformance-\w+ while the pool has a machine; leave out"),
]


@pytest.mark.parametrize(("test", "make", "says"), [*ENDS, *BELONGINGS])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    tested = {test for test, *_ in [*ENDS, *BELONGINGS]}
    assert tested == rules_of(VanishingRules) | rules_of(LeavingRules)


class Hiding(Keeping):
    async def list_left(self, pool_id: str | None = None, /) -> Any:
        return []


def test_a_test_that_passes_and_leaves_a_key_fails(case: Case) -> None:
    test = "test_launch_gives_each_node_one_machine"
    assert_bites(
        case, test, whole(Hiding)(case), r"what the test bought is not removed: key-conf.* exist, by the word of belo"
    )
    case.premises.things.clear()
    getattr(case, test)(whole(Keeping)(case))  # what is told, the test removes
