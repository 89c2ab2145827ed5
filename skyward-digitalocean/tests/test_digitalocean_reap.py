"""``skyward reap`` and ``skyward doctor`` from a host that knows nothing but the token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fakes.digitalocean import DigitalOceanServer
from fakes.digitalocean.catalogue import VPC
from fakes.sessions import command

import skyward as sky
from skyward.spi import ComputeSpec, Finding, LaunchRequest, PoolIdentity
from skyward_digitalocean import DigitalOcean

type Identity = Callable[..., PoolIdentity]

LONG_AGO = 1.0e9


def test_reap_destroys_what_dead_clients_have_left_on_and_off_with_their_keys_and_tags_and_nothing_else(
    digitalocean_api: DigitalOceanServer, identity: Identity, tmp_path: Path
) -> None:
    async def abandoned(accelerator: str | None = None, **of: Any) -> str:
        wanted = None if accelerator is None else sky.Accelerator.parse(accelerator)
        spec = ComputeSpec(nodes=1, image=sky.Image(), accelerator=wanted)
        session = await DigitalOcean().open(identity(**of))
        request = LaunchRequest(offer=(await session.offers(spec))[0], nodes=(0,), spec=spec)
        [machine] = await session.launch(request)
        await session.rest.aclose()  # the client is killed: nothing is removed
        return machine.id

    async def before() -> tuple[str, str, str, str]:
        return (
            await abandoned(deadline=LONG_AGO),
            await abandoned("H100", deadline=LONG_AGO),
            await abandoned(deadline=LONG_AGO),
            await abandoned(deadline=time.time() + 3600),
        )

    off, gpu, destroyed, living = asyncio.run(before())
    digitalocean_api.power_off(int(off))
    with digitalocean_api.lock:
        del digitalocean_api.droplets[int(destroyed)]  # by hand: its key and its tag stay

    reap = partial(command, "DigitalOcean", tmp_path / "elsewhere", "reap")
    found = reap("--dry-run")
    assert (found["status"], found["problems"]) == (1, [])
    things = {each["id"].partition("/")[0] for each in found["machines"]}
    assert things == {off, gpu, "ssh-key", "tag"}
    assert len(digitalocean_api.ours) == 3, "a dry run removes nothing"

    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert [str(number) for number in digitalocean_api.ours] == [living]
    assert len(digitalocean_api.belongings()) == 2, "the key and the tag of the one that lives"
    assert len(digitalocean_api.asked("GET /v2/account/keys")) <= 10


def test_doctor_tells_what_a_pool_needs_and_is_in_the_way(digitalocean_api: DigitalOceanServer, tmp_path: Path) -> None:
    def looked(**settings: Any) -> dict[str, Finding]:
        return {each.subject: each for each in asyncio.run(DigitalOcean(**settings).check())}

    fine = looked(vpc=VPC)
    assert {each.level for each in fine.values()} == {"ok"}
    assert [*fine] == [
        "credentials", "prices", "droplets", "permission ssh_key:read", "permission tag:read", "network",
    ]  # fmt: skip
    assert fine["droplets"].detail == "3 of 25"
    assert fine["credentials"].detail == "account ada@example.com"

    digitalocean_api.droplet_limit = 3
    digitalocean_api.faults.fail("GET /v2/tags", 403)
    bad = looked(region="xyz9", vpc=VPC)
    assert {subject for subject, each in bad.items() if each.level == "problem"} == {
        "prices", "droplets", "permission tag:read", "network",
    }  # fmt: skip
    assert all(each.remedy for each in bad.values() if each.level == "problem")
    assert "fra1" in bad["prices"].remedy
    assert "limit_increase" in bad["droplets"].remedy
    assert looked(vpc=VPC.replace("9", "8"))["network"].detail.endswith("is not there")

    account = digitalocean_api.account(None).body["account"]
    account |= {"status": "warning", "status_message": "your card expires"}
    digitalocean_api.faults.fail("GET /v2/account", 200, body={"account": account})
    assert looked()["account"].detail == "your card expires"

    digitalocean_api.droplet_limit = 25
    told = command("DigitalOcean", tmp_path / "elsewhere", "doctor")
    assert told["status"] == 0, told
