"""What is found without any local state: deadlines that were moved, and what dead clients have left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from fakes.verda import Fake

from skyward.spi import InstanceState, MachineLabel, PoolIdentity
from skyward_verda._api import Machine, Script
from skyward_verda._labels import Records, record, scripted

LONG_AGO = 1.0e9


# ---- deadlines


def deadlines(fake: Fake) -> list[str]:
    return [each["name"] for each in fake.scripts.values() if each["name"].endswith(".deadline")]


def test_a_deadline_that_is_moved_is_told_to_everybody_and_leaves_one_record_for_each_instance(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        async with opened() as session, opened() as stranger:
            machines = await launched(session, 0, 1)
            ids = [machine.id for machine in machines]
            for seconds in (7200.0, 900.0, 5400.0):
                deadline = time.time() + seconds
                await session.extend(ids, deadline)
                for asking in (session, stranger):
                    found = await asking.describe(ids)
                    assert [each.deadline for each in found.values()] == [pytest.approx(deadline, abs=0.01)] * 2
                assert len(deadlines(verda_api)) == len({*deadlines(verda_api)}) == 2
            await session.terminate(ids)

    asyncio.run(main())
    assert verda_api.belongings() == set()


def test_a_deadline_whose_record_is_kept_twice_is_that_of_the_later_one() -> None:
    label = MachineLabel(pool_id="p", node=0, deadline=100.0)
    scripts = [
        Script("s", "a.sh", scripted(label, "#!/bin/sh\ntrue\n"), "2026-01-01T00:00:00.000Z"),
        Script("new", "r", record(_at(label, 300.0)), "2026-01-01T00:02:00.000Z"),
        Script("old", "r", record(_at(label, 200.0)), "2026-01-01T00:01:00.000Z"),
    ]
    for order in (scripts, scripts[::-1]):
        found = Records.of(order).label(Machine("i", "running", description=label.text()))
        assert found is not None
        assert found.deadline == 300.0


def test_an_instance_whose_description_was_cut_is_known_by_its_script() -> None:
    label = MachineLabel(pool_id="p", node=3)
    records = Records.of([Script("s", "a.sh", scripted(label, "#!/bin/sh\ntrue\n"))])
    machine = Machine("i", "running", description=label.text()[:-1], startup_script_id="s")
    assert records.label(machine) == label
    assert records.label(Machine("i", "running", description="my notebook", startup_script_id="other")) is None


def _at(label: MachineLabel, deadline: float) -> MachineLabel:
    from attrs import evolve

    return evolve(label, deadline=deadline)


# ---- what is beside instances


def test_what_a_pool_has_is_left_over_only_once_its_last_instance_is_gone(
    verda_api: Fake, opened: Any, dying: Any, launched: Any
) -> None:
    async def main() -> None:
        async with dying() as session, opened() as stranger:
            one, other = await launched(session, 0, 1)
            assert await stranger.list_left() == []
            verda_api.finish(one.id, "discontinued")
            assert await stranger.list_left() == []
            verda_api.finish(other.id, "discontinued")
            left = await stranger.list_left(session.identity.pool_id)
            assert sorted(each.id.partition("/")[0] for each in left) == ["key", "script", "script", "volume", "volume"]
            assert {(each.pool_id, each.owner, each.client) for each in left} == {
                (session.identity.pool_id, "ada@lab", "elsewhere-1-2")
            }
            names = [each.id for each in left]
            assert {*(await stranger.describe(names))} == {*names}
            await stranger.terminate(names)
            assert await stranger.describe(names) == {}
            await stranger.terminate(names)

    asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


def test_a_session_that_is_closed_keeps_what_its_instances_need(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            await launched(session)
        assert len(verda_api.belongings()) == 2

    asyncio.run(main())


# ---- skyward reap


@pytest.fixture
def abandoned(dying: Any, launched: Any) -> Callable[..., str]:
    """Makes a pool whose client is no more; its instance."""

    async def main(who: PoolIdentity, market: str) -> str:
        async with dying(who) as session:
            [machine] = await launched(session, market=market)
            while (await session.describe([machine.id]))[machine.id].state is not InstanceState.RUNNING:
                pass
            return str(machine.id)

    return lambda who, market="on-demand": asyncio.run(main(who, market))


def test_reap_finds_on_another_host_what_has_shut_itself_down_and_costs_on_and_removes_all_of_it(
    verda_api: Fake, abandoned: Any, identity: Any, reap: Callable[..., dict[str, Any]]
) -> None:
    dead, living = identity(deadline=LONG_AGO), identity()
    machine, other = abandoned(dead), abandoned(living)
    verda_api.finish(machine, "offline")
    assert verda_api.existing() == {machine, other}

    found = reap("--dry-run")
    assert (found["status"], found["problems"]) == (1, [])
    assert {(each["id"], each["pool"]) for each in found["machines"]} == {(machine, dead.pool_id)}
    assert verda_api.existing() == {machine, other}, "a dry run removes nothing"

    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert verda_api.existing() == {other}
    assert len(verda_api.belongings()) == 2, "those of the pool that lives"


def test_reap_spares_an_instance_whose_deadline_was_moved(
    verda_api: Fake, dying: Any, launched: Any, identity: Any, reap: Callable[..., dict[str, Any]]
) -> None:
    who = identity(deadline=LONG_AGO)

    async def main() -> str:
        async with dying(who) as session:
            [machine] = await launched(session)
            await session.extend([machine.id], time.time() + 3600)
            return str(machine.id)

    machine = asyncio.run(main())
    assert reap("--dry-run")["machines"] == []
    assert verda_api.existing() == {machine}


def test_reap_removes_keys_scripts_and_volumes_of_pools_without_instances(
    verda_api: Fake, abandoned: Any, identity: Any, reap: Callable[..., dict[str, Any]]
) -> None:
    who = identity(deadline=LONG_AGO)
    machine = abandoned(who, market="spot")
    verda_api.held[machine].policy = "keep_detached"  # as somebody may set it by hand
    verda_api.finish(machine, "discontinued")
    assert verda_api.existing() == set()
    assert len(verda_api.belongings()) == 3

    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert sorted(each["id"].partition("/")[0] for each in removed["removed"]) == ["key", "script", "volume"]
    assert verda_api.belongings() == set()
    assert reap()["machines"] == []
