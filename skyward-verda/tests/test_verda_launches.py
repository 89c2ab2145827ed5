"""What is asked for when instances are made, and what is left after an answer that is none."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from fakes.verda import Fake
from fakes.verda.shelves import SOLD_OUT

import skyward as sky
from skyward import Accelerator, AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import ComputeSpec, Instance, MachineLabel
from skyward.testing._hurry import hurried

SPEC = ComputeSpec(nodes=1, image=sky.Image())
CREATE = "POST /v1/instances"

type One = Callable[[], Sequence[Instance]]


def order(fake: Fake) -> dict[str, Any]:
    [seen] = fake.asked(CREATE)
    return dict(seen.body)


@pytest.fixture
def one(opened: Any, launched: Any) -> One:
    """Launches a machine in a session of its own, which is closed again."""

    async def main() -> Sequence[Instance]:
        with hurried():
            async with opened() as session:
                found: Sequence[Instance] = await launched(session)
                return found

    return lambda: asyncio.run(main())


def failed(one: One, fake: Fake, kind: type[ProviderError]) -> str:
    """How a launch fails; then nothing is left, and the error survives pickling."""
    with pytest.raises(kind) as caught:
        one()
    assert type(caught.value) is kind
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert (fake.existing(), fake.belongings()) == (set(), set())
    return str(caught.value)


def test_an_instance_bears_its_label_and_has_its_key_and_its_switch(
    verda_api: Fake, opened: Any, launched: Any, identity: Any
) -> None:
    who = identity()

    async def main() -> Sequence[Instance]:
        async with opened(who, disk_gb=80) as session:
            found: Sequence[Instance] = await launched(session)
            return found

    [machine] = asyncio.run(main())
    asked = order(verda_api)
    label = MachineLabel.read(asked["description"])
    assert label is not None
    assert (label.pool_id, label.owner, label.client, label.node) == (who.pool_id, "ada@lab", "elsewhere-1-2", 0)
    assert label.deadline == pytest.approx(who.deadline, abs=0.01)
    assert asked["hostname"] == label.name
    assert asked["os_volume"] == {"name": label.name, "size": 80}
    assert (asked["is_spot"], asked["instance_type"]) == (False, "CPU.4V.16G")
    assert machine.offer is not None
    assert asked["location_code"] == machine.offer.region
    script = verda_api.scripts[asked["startup_script_id"]]["script"]
    assert script.startswith(f"#!/bin/sh\n# {label.text()}\n")
    found = re.search(r"switch\.sh (\d+) 600 root ", script)
    assert found is not None
    assert 3500 < int(found[1]) <= 3600
    [key] = (verda_api.keys[each] for each in asked["ssh_key_ids"])
    assert key["key"].startswith("ssh-ed25519 AAAA")
    assert who.token.hex() not in str(verda_api.requests)


def test_the_volume_of_a_spot_instance_goes_when_that_is_taken_back(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        async with opened() as session:
            [machine] = await launched(session, market="spot")
            assert order(verda_api)["os_volume"]["on_spot_discontinue"] == "delete_permanently"
            verda_api.finish(machine.id, "discontinued")
            assert {each.state for each in (await session.describe([machine.id])).values()} == {"gone"}
            assert await session.list_owned() == []

    asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


def test_a_pool_has_one_key_and_each_instance_its_own_script(verda_api: Fake, opened: Any, launched: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            machines = await launched(session, 0, 1, 2)
            assert len(machines) == len({machine.id for machine in machines}) == 3
            keys = {tuple(seen.body["ssh_key_ids"]) for seen in verda_api.asked(CREATE)}
            scripts = {seen.body["startup_script_id"] for seen in verda_api.asked(CREATE)}
            assert (len(keys), len(scripts)) == (1, 3)
            await session.terminate([machine.id for machine in machines])
            assert (verda_api.existing(), verda_api.belongings()) == (set(), set())

    asyncio.run(main())


def test_gpus_boot_an_image_with_cuda_and_the_users_own_image_goes_before(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        spec = evolve(SPEC, accelerator=Accelerator("H100"))
        async with opened() as session:
            await launched(session, spec=spec)
        async with opened(image="ubuntu-22.04-cuda-12.4-docker") as session:
            await launched(session, spec=spec)

    asyncio.run(main())
    assert [seen.body["image"] for seen in verda_api.asked(CREATE)] == [
        "ubuntu-24.04-cuda-12.8-open",
        "ubuntu-22.04-cuda-12.4-docker",
    ]


# ---- answers that are none


@pytest.mark.parametrize("fault", ["lost", "500", "503", "not an id"])
def test_an_instance_whose_order_got_no_clear_answer_is_found_by_its_name_and_not_ordered_again(
    verda_api: Fake, one: One, fault: str
) -> None:
    if fault == "lost":
        verda_api.faults.lose(CREATE)
    elif fault == "not an id":
        verda_api.faults.fail_after(CREATE, 202, body={"accepted": True})
    else:
        verda_api.faults.fail_after(CREATE, int(fault))
    [machine] = one()
    assert verda_api.existing() == {machine.id}
    assert len(verda_api.asked(CREATE)) == 1


def test_an_instance_that_was_never_made_is_told_as_a_passing_failure(verda_api: Fake, one: One) -> None:
    verda_api.faults.lose(CREATE, effect=False)
    assert "it was looked for" in failed(one, verda_api, Transient)
    assert len(verda_api.asked(CREATE)) == 1


def test_an_instance_that_may_come_late_finds_its_script_and_its_key(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    verda_api.faults.lose(CREATE, effect=False)

    async def main() -> None:
        with hurried():
            async with opened() as session:
                with pytest.raises(Transient):
                    await launched(session)
                asked = order(verda_api)
                assert {asked["startup_script_id"], *asked["ssh_key_ids"]} == verda_api.belongings()

    asyncio.run(main())
    assert verda_api.belongings() == set(), "it has not come while the pool was there"


@pytest.mark.parametrize("what", ["POST /v1/sshkeys", "POST /v1/scripts"])
def test_a_key_or_a_script_whose_answer_was_lost_is_found_and_removed_in_the_end(
    verda_api: Fake, opened: Any, launched: Any, what: str
) -> None:
    verda_api.faults.lose(what)

    async def main() -> None:
        with hurried():
            async with opened() as session:
                [machine] = await launched(session)
                assert len(verda_api.asked(what)) == 1
                await session.terminate([machine.id])

    asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


# ---- refusals


def test_sold_out_turns_to_the_next_offer_and_says_so(verda_api: Fake, one: One) -> None:
    verda_api.faults.fail(CREATE, 503, body=SOLD_OUT)
    assert "Not enough resources are available" in failed(one, verda_api, Unavailable)
    assert len(verda_api.asked("GET /v1/instances")) <= 2, "the answer is clear: nothing needs to be looked for"


def test_a_balance_that_is_used_up_is_told_with_where_to_fill_it(verda_api: Fake, one: One) -> None:
    verda_api.balance = 0.0
    assert "https://console.verda.com/billing" in failed(one, verda_api, QuotaExceeded)


def test_a_limit_of_the_account_is_told_as_one(verda_api: Fake, one: One) -> None:
    body = {"code": "invalid_request", "message": "Instance limit of 10 exceeded"}
    verda_api.faults.fail(CREATE, 400, body=body)
    assert "Instance limit of 10 exceeded" in failed(one, verda_api, QuotaExceeded)


def test_an_image_that_the_machine_cannot_boot_is_told_with_the_setting(
    verda_api: Fake, opened: Any, launched: Any
) -> None:
    async def main() -> None:
        async with opened(image="ubuntu-24.04-cuda-12.8-open") as session:
            await launched(session)

    with pytest.raises(Unavailable, match=r"Operating system is not valid.*Verda\(image=\.\.\.\)"):
        asyncio.run(main())
    assert (verda_api.existing(), verda_api.belongings()) == (set(), set())


def test_an_outage_is_not_taken_for_a_lack_of_capacity(verda_api: Fake, one: One) -> None:
    verda_api.faults.fail(CREATE, 503)
    assert "service unavailable" in failed(one, verda_api, Transient)


def test_a_client_without_the_right_to_make_instances_is_told_what_to_set(verda_api: Fake, one: One) -> None:
    verda_api.faults.fail(CREATE, 403)
    assert "VERDA_CLIENT_ID" in failed(one, verda_api, AuthenticationFailed)


def test_capacity_for_one_of_three_gives_one_and_leaves_no_script_of_the_others(
    verda_api: Fake, opened: Any, launched: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for there in verda_api.market.on_demand.values():
        there.clear()
    verda_api.market.on_demand["FIN-01"]["CPU.4V.16G"] = 1

    async def main() -> None:
        async with opened(region="FIN-01") as session:
            machines = await launched(session, 0, 1, 2)
            assert [machine.id for machine in machines] == [*verda_api.existing()]
            assert len(verda_api.belongings()) == 2, "the pool's key, and one script"

    asyncio.run(main())
    assert "a machine less than was ordered" in caplog.text
