"""The rules of boots, ends and belongings: each is broken by a provider that the kit catches."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, LaunchRequest, Make, Straight, Whole, session, whole
from conformance_teeth import assert_bites, rules_of
from ssh_impostor import make_impostor as make_impostor

from skyward.errors import AuthenticationFailed, Transient
from skyward.spi import InstanceState, SshAddress, SshTransport, new_key_pair
from skyward.testing import Fault
from skyward.testing.conformance._booting import BootRules
from skyward.testing.conformance._leaving import LeavingRules
from skyward.testing.conformance._vanishing import VanishingRules

# ---- boots -----------------------------------------------------------------------------------------------------------


class Ready(Straight):
    """Knows machines once they run."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: each for name, each in found.items() if each.state is not InstanceState.PENDING}

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [each for each in await self.inner.list_owned(pool_id) if each.state is not InstanceState.PENDING]


class Unlisted(Ready):
    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids)


class Early(Straight):
    """Takes what exists for what runs."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {
            name: each if each.state is InstanceState.GONE else evolve(each, state=InstanceState.RUNNING)
            for name, each in found.items()
        }


class Doubtful(Straight):
    """Never believes that a machine runs."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: evolve(each, state=InstanceState.PENDING) for name, each in found.items()}


class Sparing(Straight):
    """Ends what runs, and strikes what does not off its list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.struck: set[str] = set()

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: each for name, each in found.items() if name not in self.struck}

    async def terminate(self, ids: Sequence[str], /) -> None:
        found = await self.inner.describe(ids)
        self.struck |= {name for name, each in found.items() if each.state is InstanceState.PENDING}
        await self.inner.terminate([name for name in ids if name not in self.struck])


SLOW, STUCK = "test_a_slow_boot_is_pending_until_it_runs", "test_a_boot_that_is_stuck_can_be_ended"

BOOTS: list[tuple[str, Make, str]] = [
    (SLOW, session(Ready), "i-0 is not known to describe while it boots; say PENDING"),
    (SLOW, session(Early), "i-0 is RUNNING and has no ip; say PENDING"),
    (SLOW, session(Doubtful), "i-0 is pending 30 s after a slow boot; say RUNNING"),
    (STUCK, session(Ready), "i-0 is not known to describe although it never comes to run; say PENDING"),
    (STUCK, session(Early), "i-0 is running to describe although it never comes to run; say PENDING"),
    (STUCK, session(Unlisted), "list_owned does not find i-0 while it boots; list what exists"),
    (STUCK, session(Sparing), "i-0 exists after terminate because it never came to run; end machines in any"),
]


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


class Listing(Faithful):
    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids)

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return list(self.seen.values())


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
AFTER = "test_what_has_ended_by_itself_can_be_terminated"
AGAIN = "test_a_terminate_that_meets_an_error_can_be_repeated"
FOUND = "test_what_a_failed_terminate_has_left_is_still_found"

ENDS: list[tuple[str, Make, str]] = [
    (GONE, session(Faithful), "i-0 has ended by itself, and describe take it for alive; say GONE"),
    (GONE, session(Listing), "i-0 has ended by itself, and list_owned take it for alive; say GONE"),
    (GONE, session(Panicking), "describe calls i-1 gone after the end of i-0; tell of each its own state"),
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


@pytest.mark.parametrize(("test", "make", "says"), [*BOOTS, *ENDS, *BELONGINGS])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    tested = {test for test, *_ in [*BOOTS, *ENDS, *BELONGINGS]} | {"test_a_wrong_host_key_is_refused"}  # below
    assert tested == rules_of(BootRules) | rules_of(VanishingRules) | rules_of(LeavingRules)


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


# ---- a stranger in the machine's place -------------------------------------------------------------------------------


class Elsewhere(Straight):
    """Machines at whose address an impostor answers."""

    port = 0
    host_key: str | None = None

    def transport(self, instance: Instance, wire: Any, /) -> Any:
        address = SshAddress(
            host="127.0.0.1",
            port=self.port,
            username="root",
            host_key=self.host_key,
            key=new_key_pair("client"),
            config=(),
        )
        return SshTransport(instance.id, address, self.identity, wire)


class Real(Case):
    """The kit on the system's time, with a vendor that can put somebody else in a machine's place."""

    patience = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.premises.faults = frozenset(Fault)

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(main)


WRONG = Fault.WRONG_HOST_KEY


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """A case whose wrong host key is played already: whoever answers has no other."""
    case = Real()
    inject = case.premises.inject
    monkeypatch.setattr(case.premises, "inject", lambda fault, times=1: fault is WRONG or inject(fault, times))
    with case.cloud:
        yield case


def test_a_provider_that_hands_the_host_key_on_refuses_a_stranger(real: Real, make_impostor: Any) -> None:
    class Wary(Elsewhere):
        port, host_key = make_impostor().port, new_key_pair("host").public

    real.test_a_wrong_host_key_is_refused(Bent(real.cloud.provider, Wary))


def test_a_provider_that_keeps_the_host_key_to_itself_is_caught(real: Real, make_impostor: Any) -> None:
    class Trusting(Elsewhere):
        port = make_impostor().port

    real.patience = 5.0  # it tries for longer than that
    says = "the road to a machine with another host key .* was not refused for that, but with .*; give its key"
    assert_bites(real, "test_a_wrong_host_key_is_refused", Bent(real.cloud.provider, Trusting), says)
