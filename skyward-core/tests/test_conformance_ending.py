"""The rules of ending and finding: each is broken by a provider that the kit catches; and no test leaks a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, LaunchRequest, Straight
from conformance_teeth import assert_bites, rules_of

from skyward.errors import Transient
from skyward.spi import InstanceState, PoolIdentity
from skyward.testing.conformance import Broken
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._ending import EndingRules, FindingRules
from skyward.testing.conformance._rules import on_loop


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case()
    with case.cloud:
        yield case


class Remembering(Straight):
    """Keeps its machines in its own memory."""

    def __init__(self, inner: Any, identity: PoolIdentity, provider: Bent) -> None:
        super().__init__(inner, identity, provider)
        self.mine: dict[str, Instance] = {}

    async def launch(self, request: LaunchRequest, /) -> list[Instance]:
        made = list(await self.inner.launch(request))
        self.mine |= {machine.id: machine for machine in made}
        return made


# ---- ending ----------------------------------------------------------------------------------------------------------


class Pretending(Remembering):
    """Strikes machines off its list, and leaves them running."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        return {name: self.mine[name] for name in ids if name in self.mine}

    async def terminate(self, ids: Sequence[str], /) -> None:
        self.mine = {name: machine for name, machine in self.mine.items() if name not in ids}

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return list(self.mine.values())


class Idle(Straight):
    async def terminate(self, ids: Sequence[str], /) -> None:
        pass


class Strict(Straight):
    """Takes what has ended, or never was, for a mistake."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        found = await self.inner.describe(ids)
        for name in ids:
            if name not in found or found[name].state is InstanceState.GONE:
                raise KeyError(name)
        await self.inner.terminate(ids)


class Forgetting(Straight):
    """Gives up at the first id that it does not know."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        found = await self.inner.describe(ids)
        for name in ids:
            if name not in found:
                return
            await self.inner.terminate([name])


class First(Straight):
    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate(ids[:1])


class Sweeping(Straight):
    """Ends the pool, whatever it is asked for."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate([each.id for each in await self.inner.list_owned(self.identity.pool_id)])


ENDING: list[tuple[str, type[Straight], str]] = [
    ("test_terminate_ends_a_machine", Pretending, "i-0 exists after terminate, though describe calls it gone; ask the"),
    ("test_terminate_ends_a_machine", Idle, "i-0 still there after terminate; end machines for good"),
    ("test_terminate_may_be_repeated", Strict, "terminate raised KeyError: 'i-0'; raise Unavailable"),
    ("test_an_unknown_id_is_no_obstacle_to_terminate", Strict, "terminate raised KeyError: .*; raise Unavailable"),
    ("test_an_unknown_id_is_no_obstacle_to_terminate", Forgetting, "i-0 still there after terminate; end"),
    ("test_several_machines_are_ended_at_once", First, "i-1 still there after terminate; end"),
    ("test_terminate_ends_only_what_it_names", Sweeping, "terminate ended i-1 although .*; end the ids that are given"),
]


# ---- finding ---------------------------------------------------------------------------------------------------------


class Page(Straight):
    """Reads the first page of the vendor's answer only."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return list(await self.inner.list_owned(pool_id))[:1]


class Narrow(Straight):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return await self.inner.list_owned(pool_id or self.identity.pool_id)


class Local(Remembering):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        here = [machine.id for machine in self.mine.values() if pool_id in (None, machine.pool_id)]
        return [each for each in await self.inner.list_owned(pool_id) if each.id in here]


class Private(Remembering):
    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate([name for name in ids if name in self.mine])


class Shy(Remembering):
    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe([name for name in ids if name in self.mine])


class Denying(Private):
    """Ends nothing of others, and says that it has."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return found if not self.mine and not getattr(self, "ended", ()) else self.without(found)

    def without(self, found: Any) -> Any:
        return {name: machine for name, machine in found.items() if name not in getattr(self, "ended", ())}

    async def terminate(self, ids: Sequence[str], /) -> None:
        self.ended = set(ids) - set(self.mine)
        await super().terminate(ids)


class Unfiltered(Straight):
    """Finds whatever the account has."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return await self.inner.list_owned()


class Stamping(Straight):
    """As `Unfiltered`, and takes what it finds for the pool that was asked for."""

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [evolve(each, pool_id=pool_id or each.pool_id) for each in await self.inner.list_owned()]


class Nostalgic(Remembering):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [machine for machine in self.mine.values() if pool_id in (None, machine.pool_id)]


class Anonymous(Straight):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [evolve(each, owner="") for each in await self.inner.list_owned(pool_id)]


class Timeless(Straight):
    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [evolve(each, deadline=None) for each in await self.inner.list_owned(pool_id)]


FINDING: list[tuple[str, type[Straight], str]] = [
    (
        "test_list_owned_finds_the_machines_of_a_pool",
        Page,
        r"list_owned\(pool_id\) does not find i-1; tag every machine",
    ),
    ("test_list_owned_without_a_pool_finds_all_of_an_owner", Narrow, r"list_owned\(\) does not find i-1; tag every"),
    ("test_another_client_finds_machines_without_local_state", Local, r"list_owned\(pool_id\) does not find i-0; tag"),
    ("test_another_client_finds_machines_without_local_state", Narrow, r"list_owned\(\) does not find i-0; tag"),
    ("test_another_client_ends_what_it_has_found", Private, "i-0 still there after terminate; end"),
    (
        "test_another_client_ends_what_it_has_found",
        Shy,
        "i-0 is not known to describe of another session; ask the vendor",
    ),
    ("test_another_client_ends_what_it_has_found", Denying, "after the terminate of another session; end machines by"),
    ("test_pools_do_not_see_each_others_machines", Unfiltered, "found i-1, which is another one's; filter by the tag"),
    ("test_pools_do_not_see_each_others_machines", Stamping, "found i-1, which is another one's; filter by the tag"),
    ("test_ended_machines_are_listed_no_more", Nostalgic, "list_owned still finds i-0 after its end; leave it out"),
    ("test_found_machines_tell_what_they_are_tagged_with", Anonymous, "owner of i-0 is '' in list_owned, .*; tag the"),
    ("test_found_machines_tell_what_they_are_tagged_with", Timeless, "deadline of i-0 is None, and that .*; tag the"),
]


@pytest.mark.parametrize(("test", "kind", "says"), [*ENDING, *FINDING])
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, kind: type[Straight], says: str) -> None:
    assert_bites(case, test, Bent(case.cloud.provider, kind), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    tested = {test for test, *_ in [*ENDING, *FINDING]}
    assert tested == rules_of(EndingRules) | rules_of(FindingRules)


# ---- what a test leaves behind ---------------------------------------------------------------------------------------


class Failing(Case):
    """A test that fails when it has bought and lost sight of everything."""

    @on_loop
    async def test_and_fail(self, account: Account) -> None:
        for _ in range(2):
            session = await account.open()
            [offer, *_] = await account.offers(session)
            await session.raw.launch(LaunchRequest(offer=offer, nodes=(0, 1), spec=account.spec))
            await session.close()
        raise ZeroDivisionError


def test_what_a_failing_test_has_bought_is_removed() -> None:
    case = Failing()
    with case.cloud, pytest.raises(ZeroDivisionError) as caught:
        case.test_and_fail(case.cloud.provider)
    assert len(case.cloud.machines) == 4
    assert all(machine.why == "terminated" for machine in case.cloud.machines)
    assert case.cloud.open_sessions == 0
    assert not getattr(caught.value, "__notes__", [])


def test_what_cannot_be_removed_is_named_beside_the_failure() -> None:
    case = Failing()
    with case.cloud, pytest.raises(ZeroDivisionError) as caught:
        case.test_and_fail(Bent(case.cloud.provider, Idle))
    assert any("i-0" in note and "look for it by hand" in note for note in caught.value.__notes__)


def test_a_test_that_passes_and_leaves_a_machine_fails() -> None:
    case = Case()
    case.cloud.script("terminate", *[Transient("try again")] * 100)
    with (
        case.cloud,
        pytest.raises(Broken, match=r"what the test bought is not removed: .*try again.*; look for it by hand"),
    ):
        case.test_launch_gives_each_node_one_machine(Bent(case.cloud.provider))


@pytest.mark.parametrize("kind", [Unfiltered, Stamping])
def test_machines_of_others_are_left_alone_however_wrong_the_provider_is(kind: type[Straight]) -> None:
    case = Failing()

    async def buy() -> None:
        mine = PoolIdentity(pool_id="mine", owner=case.owner, deadline=None, lease=None, token=b"t")
        session = await case.cloud.provider.open(mine)
        [offer, *_] = await session.offers(case.spec())
        await session.launch(LaunchRequest(offer=offer, nodes=(0,), spec=case.spec()))
        await session.close()

    with case.cloud:
        case.run(buy())
        with pytest.raises(ZeroDivisionError):
            case.test_and_fail(Bent(case.cloud.provider, kind))
        assert [machine.pool_id for machine in case.cloud.alive][:1] == ["mine"]
