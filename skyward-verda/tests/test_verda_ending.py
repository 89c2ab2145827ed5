"""How instances end: deleted with their volumes for good, refused for a while, shut down by themselves, taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes.verda import Fake

from skyward import Transient
from skyward.spi import InstanceState
from skyward.testing._hurry import hurried
from skyward_verda._session import VerdaSession

DELETE = "PUT /v1/instances"


async def running(session: VerdaSession, name: str) -> None:
    while (await session.describe([name]))[name].state is not InstanceState.RUNNING:
        pass


async def state(session: VerdaSession, name: str) -> InstanceState | None:
    found = (await session.describe([name])).get(name)
    return None if found is None else found.state


def test_an_instance_is_deleted_with_its_volume_for_good(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            volume = verda_api.held[machine.id].facts["os_volume_id"]
            await session.terminate([machine.id])
            [seen] = verda_api.asked(DELETE)
            assert seen.body == {
                "action": "delete",
                "id": [machine.id],
                "volume_ids": [volume],
                "delete_permanently": True,
            }

    asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


@pytest.mark.parametrize("multi", [True, False])
def test_an_instance_that_cannot_be_deleted_while_it_is_provisioned_is_deleted_afterwards(
    verda_api: Fake, opened: Any, launched: Any, multi: bool
) -> None:
    verda_api.stubborn, verda_api.multi, verda_api.boot_looks = True, multi, 4

    async def main() -> None:
        with hurried():
            async with opened() as session:
                [machine] = await launched(session)
                await session.describe([machine.id])  # from here on it is being provisioned
                await session.terminate([machine.id])

    asyncio.run(main())
    assert len(verda_api.asked(DELETE)) > 1
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


def test_an_instance_that_is_provisioned_for_ever_is_told_as_there(verda_api: Fake, opened: Any, launched: Any) -> None:
    verda_api.stubborn, verda_api.stuck = True, 1

    async def main() -> None:
        with hurried():
            async with opened() as session:
                [machine] = await launched(session)
                await session.describe([machine.id])
                with pytest.raises(Transient, match="Can't discontinue a provisioning instance"):
                    await session.terminate([machine.id])
                assert [each.id for each in await session.list_owned()] == [machine.id]
                verda_api.stubborn = False
                await session.terminate([machine.id])

    asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


def test_one_result_of_several_that_is_an_error_is_no_success(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        with hurried():
            async with opened() as session:
                [machine] = await launched(session)
                said = [{"action": "delete", "instanceId": machine.id, "status": "error", "error": "try again later"}]
                verda_api.faults.fail(DELETE, 207, body=said)
                await session.terminate([machine.id])

    asyncio.run(main())
    assert len(verda_api.asked(DELETE)) == 2
    assert verda_api.existing() == set()


def test_what_is_gone_already_is_no_obstacle(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            one, other = await launched(session, 0, 1)
            said = {"code": "invalid_request", "message": "Can't discontinue a discontinued instance"}
            verda_api.finish(one.id, "discontinued")
            verda_api.finish(other.id, "discontinued")
            verda_api.held[other.id].status = "running"  # and by the time that it is deleted, it is no more
            verda_api.faults.fail(DELETE, 400, body=said)
            await session._delete(one.id)
            await session._delete(other.id)
            verda_api.finish(other.id, "discontinued")
            await session._delete("00000000-0000-0000-0000-000000000000")

    asyncio.run(main())


# ---- what has ended by itself, and costs on


def test_an_instance_that_has_shut_itself_down_is_deleted_by_whoever_looks_and_gone(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            await running(session, machine.id)
            verda_api.finish(machine.id, "offline")
            assert verda_api.existing() == {machine.id}, "it is billed"
            assert await state(session, machine.id) is InstanceState.GONE
            assert verda_api.existing() == set()

    asyncio.run(main())
    assert verda_api.belongings() == set()


def test_an_instance_that_has_failed_is_deleted_too(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session)
            verda_api.finish(machine.id, "error")
            assert await state(session, machine.id) is InstanceState.GONE
            assert verda_api.existing() == set()

    asyncio.run(main())


def test_an_instance_that_cannot_be_deleted_is_gone_and_deleted_at_the_next_look(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    verda_api.faults.fail(DELETE, 500, times=100)

    async def main() -> None:
        with hurried():
            async with opened() as session:
                [machine] = await launched(session)
                verda_api.finish(machine.id, "error")
                assert await state(session, machine.id) is InstanceState.GONE
                assert [each.id for each in await session.list_owned()] == [machine.id], "it costs on"
                verda_api.faults.clear()
                assert await state(session, machine.id) is InstanceState.GONE
                assert verda_api.existing() == set()

    asyncio.run(main())
    assert verda_api.existing() == set()


def test_an_instance_that_is_offline_before_it_ever_ran_is_given_some_time(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        with hurried() as clock:
            async with opened() as session:
                [machine] = await launched(session)
                verda_api.finish(machine.id, "offline")
                assert await state(session, machine.id) is InstanceState.PENDING
                await clock.sleep(100)
                assert await state(session, machine.id) is InstanceState.PENDING
                assert verda_api.existing() == {machine.id}
                await clock.sleep(30)
                assert await state(session, machine.id) is InstanceState.GONE

    asyncio.run(main())
    assert verda_api.existing() == set()


@pytest.mark.parametrize("status", ["offline", "error"])
def test_a_stranger_who_looks_ends_nothing_and_hides_nothing_that_costs(
    verda_api: Fake, opened: Any, launched: Any, status: str
) -> None:
    async def main() -> None:
        async with opened() as session, opened() as stranger:
            [machine] = await launched(session)
            await running(session, machine.id)
            verda_api.finish(machine.id, status)
            assert await state(stranger, machine.id) is InstanceState.PENDING
            assert [each.id for each in await stranger.list_owned()] == [machine.id]
            assert verda_api.existing() == {machine.id}
            await stranger.terminate([machine.id])
            assert (verda_api.existing(), verda_api.belongings()) == (set(), set())

    asyncio.run(main())
