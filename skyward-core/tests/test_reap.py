"""What dead clients left behind is found and removed, and nothing of a living one's."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from road_fakes import FakeProvider, Journey, run, virtually

import skyward as sky
from skyward import _reap
from skyward._accounts import claimed, read_all
from skyward._client import this_client
from skyward._ledger import Ledger, fingerprint, state_folder
from skyward.errors import AuthenticationFailed, Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import LaunchRequest, PoolIdentity

PLACE = this_client().partition("-")[0]
DEAD = f"{PLACE}-1-0"
ELSEWHERE = "0" * 12 + "-1-0"

pytestmark = pytest.mark.usefixtures("own_ledgers")


def ledgers() -> list[str]:
    return sorted(os.listdir(state_folder()))


async def abandoned(*clouds: FakeProvider, **parameters: Any) -> Journey:
    """A pool whose client has died."""
    journey = Journey(*clouds, **parameters)
    await journey.road.provision()
    ledger = journey.road._books._ledger
    assert ledger is not None
    ledger._file.close()
    return journey


def without_ledgers() -> None:
    for path in state_folder().iterdir():
        path.unlink()


async def reap(*clouds: FakeProvider) -> tuple[_reap.Found, _reap.Removed]:
    found = await _reap.find([cloud.provider for cloud in clouds])
    return found, await _reap.remove(found)


# with the ledgers


@virtually
async def test_the_pool_of_a_dead_client_is_found_then_ended_and_its_ledger_goes() -> None:
    one, other = FakeProvider("One"), FakeProvider("Other")
    journey = await abandoned(one, other, nodes=2)
    found = await _reap.find([one.provider, other.provider])
    assert [(each.provider, each.machine.id, each.why) for each in found.orphans] == [
        (one.provider, "i-0", "its client has died"),
        (one.provider, "i-1", "its client has died"),
    ]
    assert [pool.pool_id for pool in found.pools] == [journey.road.pool_id]
    assert len(one.alive) == 2, "finding removes nothing"
    removed = await _reap.remove(found)
    assert removed == _reap.Removed((("One", "i-0"), ("One", "i-1")), (journey.road.pool_id,))
    assert (one.alive, ledgers()) == ([], [])
    assert await _reap.find([one.provider]) == _reap.Found((one.provider,), (), ())


@virtually
async def test_a_living_clients_pool_is_never_touched() -> None:
    cloud = FakeProvider()
    alive = Journey(cloud, nodes=2)
    await alive.road.provision()
    found, removed = await reap(cloud)
    assert (found.orphans, found.pools, removed.machines) == ((), (), ())
    assert len(cloud.alive) == 2
    await alive.road.destroy()


@virtually
async def test_a_provider_that_fails_does_not_stop_the_others_and_keeps_the_ledger() -> None:
    broken, sound = FakeProvider("Broken"), FakeProvider("Sound")
    first, second = await abandoned(broken), await abandoned(sound)
    broken.script["open"] = [AuthenticationFailed("no key")] * 2
    found, removed = await reap(broken, sound)
    [path] = [account.path for account in found.pools if "Broken" in account.asked]
    assert found.problems == (f"Broken: no key; if no machines are left there, remove {path}",)
    assert removed.problems == found.problems
    assert removed.machines == (("Sound", "i-0"),)
    assert (len(broken.alive), sound.alive) == (1, [])
    assert ledgers() == [f"{first.road.pool_id}.jsonl"]
    assert removed.pools == (second.road.pool_id,)
    await reap(broken)
    assert (broken.alive, ledgers()) == ([], [])


@virtually
async def test_a_machine_that_cannot_be_ended_is_named_and_stays_in_the_ledger() -> None:
    cloud = FakeProvider(script={"terminate": [Unavailable("no API today")] * 99})
    await abandoned(cloud)
    _, removed = await reap(cloud)
    assert removed.machines == ()
    assert removed.problems[0] == "i-0 of Fake may still run: no API today"
    assert len(ledgers()) == 1


@virtually
async def test_what_an_order_brings_forth_late_is_waited_for() -> None:
    cloud = FakeProvider()
    journey = await abandoned(cloud)
    cloud.clock.advance(100)
    path = state_folder() / f"{journey.road.pool_id}.jsonl"
    fact = json.dumps({"fact": "launching", "time": cloud.clock.time(), "provider": "Fake", "nodes": [1]})
    path.write_text(f'{path.read_text()}{fact}\n{{"fact": "launched", "ids": ["i-')  # cut off by the client's death
    request = cloud.called("launch")[0]
    cloud.clock.call_at(cloud.clock.monotonic() + 45, lambda: cloud.sessions[0].create(evolve(request, nodes=(1,))))
    _, removed = await reap(cloud)
    assert removed.machines[-1] == ("Fake", "i-1")
    assert (cloud.alive, ledgers()) == ([], [])


@frozen
class Regional:
    """A provider whose settings name a region, in which alone it looks."""

    cloud: FakeProvider
    region: str
    name: str = "Regional"

    @property
    def capabilities(self) -> Any:
        return self.cloud.provider.capabilities

    async def open(self, identity: PoolIdentity, /) -> Any:
        return await self.cloud.provider.open(identity)

    def __repr__(self) -> str:
        return f"Regional({self.region})"


@virtually
async def test_settings_for_another_region_cannot_tell_that_a_pool_is_gone_before_its_deadline() -> None:
    here, there = FakeProvider("Regional"), FakeProvider("Regional")
    journey = await abandoned(here, timeout=3600)
    path = state_folder() / f"{journey.road.pool_id}.jsonl"
    text = path.read_text().replace(fingerprint(here.provider), fingerprint(Regional(here, "here")))
    path.write_text(text)
    elsewhere, right = Regional(there, "there"), Regional(here, "here")
    assert (await _reap.remove(await _reap.find([elsewhere]))).pools == ()
    assert len(ledgers()) == 1
    assert (await _reap.remove(await _reap.find([elsewhere, right]))).pools == (journey.road.pool_id,)
    assert here.alive == []
    path.write_text(text)
    here.clock.advance(3600 + 61)
    assert (await _reap.remove(await _reap.find([elsewhere]))).pools == (journey.road.pool_id,)


# without


@virtually
async def test_without_a_ledger_the_machines_of_a_dead_client_are_known_by_their_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = FakeProvider()
    living = Journey(cloud)
    await living.road.provision()
    monkeypatch.setattr("skyward._market.this_client", lambda: DEAD)
    await abandoned(cloud)
    without_ledgers()
    found, removed = await reap(cloud)
    assert [each.machine.id for each in found.orphans] == ["i-1"]
    assert removed.machines == (("Fake", "i-1"),)
    assert [machine.id for machine in cloud.alive] == ["i-0"], "its client lives, though it has lost its ledger"
    await living.road.destroy()


def machine(**more: Any) -> Instance:
    tags = {"pool_id": "p", "owner": "me@here", "client": ELSEWHERE, "deadline": 1000.0, **more}
    return Instance(id="i-0", state=InstanceState.RUNNING, **tags)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (machine(), None),
        (machine(deadline=None), None),
        (machine(deadline=900.0), "its deadline has passed"),
        (machine(deadline=950.0), None),  # it may be ending itself
        (machine(client="", deadline=900.0), "its deadline has passed"),
        (machine(client="", deadline=None), None),
        (machine(client=DEAD), "its client has died"),
        (machine(client=this_client(), deadline=900.0), None),  # whoever lives may have extended it
        (machine(pool_id="held", deadline=900.0), None),
        (machine(pool_id="held", client=DEAD), None),
        (machine(pool_id="left"), "its client has died"),
        (machine(pool_id="", client=DEAD), None),  # it is no pool's
    ],
)
def test_whose_a_machine_is_is_told_from_its_tags(found: Instance, why: str | None) -> None:
    assert _reap.why_orphaned(found, {"held"}, {"left"}, 1000.0) == why


# by the next pool


@virtually
async def test_the_next_pool_removes_what_dead_clients_left_at_its_providers(caplog: pytest.LogCaptureFixture) -> None:
    cloud, other = FakeProvider(), FakeProvider("Other")
    await abandoned(cloud)
    kept = await abandoned(other)
    journey = Journey(cloud)
    await journey.road.provision()
    assert [each.pool_id for each in cloud.alive] == [journey.road.pool_id]
    await journey.road.destroy()
    assert "ended machine i-0 of Fake, which a client that died had left behind" in caplog.text
    assert ledgers() == [f"{kept.road.pool_id}.jsonl"], "the next pool there removes it"
    assert len(other.alive) == 1
    await reap(other)


@virtually
async def test_no_pool_waits_for_what_the_dead_left() -> None:
    cloud = FakeProvider()
    left = await abandoned(cloud)
    cloud.script["list_owned"] = [30.0] * 2
    journey = Journey(cloud)
    await journey.road.provision()
    assert asyncio.get_running_loop().time() < 10
    await journey.road.destroy()
    assert f"{left.road.pool_id}.jsonl" in ledgers()
    await reap(cloud)
    assert (cloud.alive, ledgers()) == ([], [])


# ledgers


def left_by_a_dead_client(name: str, providers: Sequence[str], *orders: str) -> Path:
    ledger = Ledger(name)
    ledger.record("opened", owner="somebody", providers=providers, settings=[""] * len(providers), deadline=None)
    for provider in orders:
        ledger.record("launching", provider=provider, nodes=[0])
    ledger.close(clean=False)
    return ledger.path


def test_a_ledger_tells_who_may_have_machines_and_which() -> None:
    ledger = Ledger("pool")
    ledger.record("opened", owner="me@here", providers=["A", "A", "B"], settings=["x", "y", ""], deadline=7.0)
    ledger.record("launching", provider="A", nodes=[0, 1])
    ledger.record("launched", provider="A", ids=["i-0"])
    ledger.record("launched", provider="A", ids=["i-1"])
    ledger.record("answered", provider="A", nodes=[0, 1])
    ledger.record("terminated", provider="A", ids=["i-0"])
    (account,) = read_all()
    assert account.alive
    assert (account.pool_id, account.owner, account.deadline) == ("pool", "me@here", 7.0)
    assert account.settings == {"A": {"x", "y"}, "B": {""}}
    assert (set(account.asked), account.machines, account.unclear) == ({"A"}, {"A": ("i-1",)}, 0.0)
    ledger.record("launching", provider="A", nodes=[0])
    assert read_all()[0].unclear > 0
    ledger.record("extended", deadline=9.0)
    assert read_all()[0].deadline == 9.0
    ledger.close(clean=True)
    assert read_all() == []


@pytest.mark.parametrize(
    "text", ["not json\n", '{"fact": "launched"}\n', "[]\n", '{"fact": "opened", "providers": 3}\n']
)
def test_what_is_no_ledger_is_left_alone(text: str) -> None:
    state_folder().mkdir(parents=True)
    (state_folder() / "odd.jsonl").write_text(text)
    assert read_all() == []
    found = run(_reap.find([]))
    assert run(_reap.remove(found)) == _reap.Removed()
    assert ledgers() == ["odd.jsonl"]


def test_a_ledger_goes_at_once_when_nothing_was_ordered() -> None:
    left_by_a_dead_client("dead", ["AWS"])
    (state_folder() / "empty.jsonl").touch()
    assert run(_reap.remove(run(_reap.find([])))).pools == ("dead", "empty")
    assert ledgers() == []


def test_a_ledger_stays_while_somebody_deals_with_it_or_its_provider_was_not_asked() -> None:
    path = left_by_a_dead_client("dead", ["Fake"], "Fake")
    assert run(_reap.remove(run(_reap.find([])))).pools == ()
    with claimed(path) as free:
        assert free
        assert [account.alive for account in read_all()] == [True]
    assert [account.alive for account in read_all()] == [False]


def test_a_ledger_that_was_removed_between_opening_and_locking_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock
    removed: list[str] = []

    def slow(file: Any, how: int) -> None:
        lock(file, how)
        if not removed:
            removed.append(file.name)
            os.unlink(file.name)

    monkeypatch.setattr(fcntl, "flock", slow)
    ledger = Ledger("pool")
    assert removed
    assert ledger.path.exists()
    ledger.close(clean=True)


# Local


def test_a_local_machine_of_another_client_is_found_with_its_tags_and_ended() -> None:
    async def main() -> None:
        def identity(pool_id: str, client: str) -> PoolIdentity:
            return PoolIdentity(
                pool_id=pool_id, owner="me@here", deadline=2e9, lease=60.0, token=b"t" * 32, client=client
            )

        name = f"reaped{os.getpid()}"
        first = await sky.Local().open(identity(name, DEAD))
        spec = sky.ComputePool(nodes=1)._pool_options.spec
        (offer,) = await first.offers(spec)
        (launched,) = await first.launch(LaunchRequest(offer=offer, nodes=(0,), spec=spec))
        other = await sky.Local().open(identity("other", this_client()))
        (listed,) = await other.list_owned(name)
        assert (listed.id, listed.pool_id, listed.owner) == (launched.id, name, "me@here")
        assert (listed.client, listed.deadline) == (DEAD, 2e9)
        assert (await other.describe([launched.id]))[launched.id].state is InstanceState.RUNNING
        await other.terminate([launched.id])
        assert await other.list_owned(name) == []
        assert not await other.describe([launched.id])
        await first.terminate([launched.id])
        await first.close()

    asyncio.run(main())
