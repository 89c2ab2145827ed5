"""The rules of a provider's machines: each is broken by a provider that the kit catches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, LaunchRequest, Make, Straight, known, session
from conformance_teeth import assert_bites, rules_of

from skyward.spi import InstanceState, PoolIdentity
from skyward.testing.conformance._machines import MachineRules


def launches(change: Callable[[Instance], Instance]) -> Make:
    """Machines that launch tells wrong things of."""

    @known
    class Launching(Straight):
        async def launch(self, request: LaunchRequest, /) -> list[Instance]:
            return [change(machine) for machine in await self.inner.launch(request)]

    return session(Launching)


def describes(change: Callable[[Instance], Instance]) -> Make:
    """Machines that describe tells wrong things of."""

    @known
    class Describing(Straight):
        async def describe(self, ids: Sequence[str], /) -> dict[str, Instance]:
            return {name: change(machine) for name, machine in (await self.inner.describe(ids)).items()}

    return session(Describing)


class Reusing(Straight):
    """Names a machine by its place in the pool."""

    names: dict[str, str]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.names = {}

    async def launch(self, request: LaunchRequest, /) -> list[Instance]:
        made = await self.inner.launch(request)
        self.names |= {f"node-{machine.node}": machine.id for machine in made}
        return [evolve(machine, id=f"node-{machine.node}") for machine in made]

    async def describe(self, ids: Sequence[str], /) -> dict[str, Instance]:
        found = await self.inner.describe([self.names.get(name, name) for name in ids])
        return {
            name: evolve(found[real], id=name) for name, real in self.names.items() if real in found and name in ids
        }

    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate([self.names.get(name, name) for name in ids])


class Believing(Straight):
    """Takes every id for one of its own."""

    async def describe(self, ids: Sequence[str], /) -> dict[str, Instance]:
        found = dict(await self.inner.describe(ids))
        return {name: found.get(name, Instance(id=name, state=InstanceState.PENDING)) for name in ids}


class Hasty(Straight):
    """Looks for the first id only."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids[:1])


class Telling(Straight):
    """Takes an empty list for no filter."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids or [each.id for each in await self.inner.list_owned()])


class Rough(Straight):
    def transport(self, instance: Instance, wire: Any, /) -> Any:
        return wire.add(None, None)


class Raving(Straight):
    def lookout(self, instance: Instance, /) -> str:
        return "while the sun shines"


class Roadless(Straight):
    def transport(self, instance: Instance, wire: Any, /) -> Any:
        return object()


class Burning(Straight):
    """Ends the machine with the road to it."""

    def transport(self, instance: Instance, wire: Any, /) -> Any:
        road = self.inner.transport(instance, wire)
        inner, close = self.inner, road.close

        async def closed() -> None:
            await close()
            await inner.terminate([instance.id])

        road.close = closed  # type: ignore[method-assign]
        return road


class Immortal(Bent):
    def seen(self, identity: PoolIdentity) -> PoolIdentity:
        return evolve(identity, deadline=None)


class Loyal(Bent):
    def seen(self, identity: PoolIdentity) -> PoolIdentity:
        return evolve(identity, lease=None)


def slow(case: Case) -> Any:
    case.cloud._backend.boot_seconds = None
    return Bent(case.cloud.provider)


class Hanging(Straight):
    async def describe(self, ids: Sequence[str], /) -> Any:
        await asyncio.Event().wait()


MACHINES: list[tuple[str, Make, str]] = [
    ("test_launch_gives_each_node_one_machine", launches(lambda each: evolve(each, node=0)), r"nodes \[0, 0\] when"),
    (
        "test_launch_gives_each_node_one_machine",
        launches(lambda each: evolve(each, id="")),
        r"ids \['', ''\]; give each",
    ),
    ("test_launch_gives_each_node_one_machine", launches(lambda each: each.id), "; return a list of Instance values"),  # type: ignore[arg-type,return-value]
    (
        "test_launched_machines_bear_the_pool_and_the_deadline",
        launches(lambda each: evolve(each, pool_id="")),
        "pool_id of i-0 is ''; give it that of the identity",
    ),
    (
        "test_launched_machines_bear_the_pool_and_the_deadline",
        launches(lambda each: evolve(each, deadline=None)),
        "deadline of i-0 is None, and that of the pool .*; tag",
    ),
    (
        "test_launched_machines_are_not_gone_and_have_plain_details",
        launches(lambda each: evolve(each, state=InstanceState.GONE)),
        "returned i-0 as .*; return what is PENDING or RUNNING",
    ),
    (
        "test_launched_machines_are_not_gone_and_have_plain_details",
        launches(lambda each: evolve(each, details={"client": object()})),
        "details of i-0 are .*; keep strings",
    ),
    ("test_an_id_is_never_used_twice", session(Reusing), r"gave the ids \['node-0', 'node-1', 'node-0'\]; give each"),
    ("test_describe_knows_what_was_launched_and_nothing_else", session(Believing), "and an unknown id; return every"),
    (
        "test_describe_knows_what_was_launched_and_nothing_else",
        session(Hasty),
        r"describe found \['i-0'\] when asked for",
    ),
    ("test_describing_nothing_gives_nothing", session(Telling), "when asked for no id; look only"),
    (
        "test_machines_stay_what_they_were_launched_as",
        describes(lambda each: evolve(each, node=0)),
        r"i-1 was launched as .* = \('i-1', .*, 1\), and describe says .*; tell the same",
    ),
    (
        "test_machines_come_to_run_and_have_an_address",
        describes(lambda each: evolve(each, ip=None)),
        "i-0 is RUNNING and has no ip; say PENDING",
    ),
    ("test_machines_come_to_run_and_have_an_address", slow, "i-0 is pending 30 s after launch; say RUNNING as soon"),
    (
        "test_machines_come_to_run_and_have_an_address",
        session(Hanging),
        "describe did not answer within 30 s; give each",
    ),
    (
        "test_running_machines_have_an_address_for_their_neighbours",
        describes(lambda each: evolve(each, private_ip=None)),
        "no private_ip; give it, or declare",
    ),
    ("test_a_running_machine_has_a_road", session(Rough), "transport raised ConnectionError: .*; connect in open"),
    ("test_a_running_machine_has_a_road", session(Roadless), "no bootstrap and no open and no close; return"),
    ("test_a_running_machine_has_a_road", session(Burning), "i-0 is gone after its road was closed; leave"),
    (
        "test_a_running_machine_has_a_road",
        session(Raving),
        "lookout gave no program for i-0: SyntaxError: .*; return Python",
    ),
    (
        "test_a_machine_ends_itself_at_its_deadline",
        lambda case: Immortal(case.cloud.provider),
        "i-0 outlives its deadline of 1800 s; set the deadline",
    ),
    (
        "test_a_machine_ends_itself_when_its_lease_runs_out",
        lambda case: Loyal(case.cloud.provider),
        "i-0 outlives its lease of 600 s, and nobody renewed it; hand the lease",
    ),
]


@pytest.mark.parametrize(("test", "make", "says"), MACHINES)
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {test for test, *_ in MACHINES} == rules_of(MachineRules)
