"""``skyward reap``: what it lists, what it removes, what it says when something is in the way, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from command_clouds import PLUGIN
from command_line import ledgers
from plugin_fakes import Install
from road_fakes import FakeProvider, Hang, Journey, VirtualLoop, run

import skyward as sky
from skyward._accounts import claimed
from skyward._ledger import state_folder
from skyward.errors import AuthenticationFailed, Unavailable

pytestmark = pytest.mark.usefixtures("own_ledgers")


# what it does


@pytest.mark.parametrize("ledger", [True, False], ids=["by the ledger", "by the tags"])
def test_what_a_dead_client_left_is_listed_and_then_removed(clouds: Any, command: Any, ledger: bool) -> None:
    one, other = clouds("Acme", "Other", ledger=ledger)
    status, out, err = command("reap")
    assert (status, err) == (0, "")
    first, second, *removed, last = out.splitlines()
    assert first.startswith("Acme i-0  pool ")
    assert "  owner " in first
    assert "  deadline 2" in first
    assert first.endswith("  its client has died")
    assert second.startswith("Other i-0  pool ")
    assert sorted(removed) == ["removed Acme i-0", "removed Other i-0"]
    assert last == "2 removed, nothing is left over"
    assert (one.alive, other.alive, ledgers()) == ([], [], [])
    assert command("reap")[:2] == (0, "nothing is left over\n")


def test_a_dry_run_changes_nothing_and_its_status_tells_that_something_is_left(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")
    before = ledgers()
    status, out, _ = command("reap", "--dry-run")
    assert status == 1
    assert out.splitlines()[-1] == "1 left over; without --dry-run they are removed"
    assert (len(cloud.alive), ledgers()) == (1, before)
    assert cloud.called("terminate") == []


def test_the_json_has_its_documented_shape(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")
    (machine,) = cloud.alive
    status, out, err = command("reap", "--dry-run", "--json")
    told = json.loads(out)
    pool = machine.pool_id
    path = str(state_folder() / f"{pool}.jsonl")
    assert (status, err) == (1, "")
    assert told == {
        "version": 1,
        "dry_run": True,
        "asked": ["Acme", "Local"],
        "machines": [
            {
                "provider": "Acme",
                "id": "i-0",
                "pool": pool,
                "owner": machine.owner,
                "deadline": machine.deadline,
                "why": "its client has died",
                "removed": False,
            }
        ],
        "removed": [],
        "pools": [
            {
                "pool": pool,
                "owner": machine.owner,
                "deadline": machine.deadline,
                "providers": ["Acme"],
                "ledger": path,
                "removed": False,
            }
        ],
        "problems": [],
        "notes": [],
        "interrupted": False,
    }
    status, out, _ = command("reap", "--json")
    after = json.loads(out)
    assert status == 0
    assert after["removed"] == [{"provider": "Acme", "id": "i-0"}]
    assert [each["removed"] for each in (*after["machines"], *after["pools"])] == [True, True]
    assert {*after} == {*told}


def test_machines_of_living_clients_are_left_alone(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme", left=False)

    with cloud, sky.ComputePool(cloud.provider, display="quiet"):
        assert command("reap") == (0, "nothing is left over\n", "")
        assert len(cloud.alive) == 1


def test_only_the_named_providers_are_asked(clouds: Any, command: Any) -> None:
    one, other = clouds("Acme", "Other")
    status, out, _ = command("reap", "--provider", "acme")
    assert (status, "removed Acme i-0" in out, "Other" in out) == (0, True, False)
    assert (one.alive, len(other.alive), len(ledgers())) == ([], 1, 1)
    assert other.sessions[1:] == []


# what is in the way


def test_a_provider_that_cannot_be_opened_is_a_note_where_no_ledger_names_it(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, script={"open": [AuthenticationFailed("no key: set ACME_KEY")] * 9})
    status, out, err = command("reap")
    assert (status, out, err) == (0, "not asked: Acme: no key: set ACME_KEY\nnothing is left over\n", "")


def test_it_is_a_problem_where_the_user_has_named_it(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, script={"open": [AuthenticationFailed("no key: set ACME_KEY")] * 9})
    status, out, err = command("reap", "--provider", "acme")
    assert (status, out) == (1, "0 removed; what else is left over is not known\n")
    assert err == "skyward reap: Acme: no key: set ACME_KEY\n"


def test_it_is_a_problem_where_one_does(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")
    cloud.script("open", *[AuthenticationFailed("no key: set ACME_KEY")] * 9)
    for options in ([], ["--dry-run"]):
        status, out, err = command("reap", *options)
        assert (status, out) == (1, "0 removed; what else is left over is not known\n")
        assert err.startswith("skyward reap: Acme: no key: set ACME_KEY; if no machines are left there, remove /")
        assert err.endswith(f"/{ledgers()[0]}\n")
        assert err.count("\n") == 1
    told = json.loads(command("reap", "--json")[1])
    assert (len(told["problems"]), told["notes"], told["asked"]) == (1, [], ["Local"])
    assert len(ledgers()) == 1


def test_a_machine_that_cannot_be_removed_is_named(clouds: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (cloud,) = clouds("Acme")
    monkeypatch.setattr("skyward._teardown._PATIENCE", 0.1)
    cloud.script("terminate", *[Unavailable("https://me:hunter22@acme.example says no")] * 99)
    status, out, err = command("reap")
    assert status == 1
    assert out.splitlines()[-1] == "0 removed, 1 left over: Acme i-0"
    assert "i-0 of Acme may still run: https://***@acme.example says no" in err


def test_a_pool_of_a_provider_that_is_not_installed_is_a_problem(clouds: Any, command: Any, install: Any) -> None:
    clouds("Acme")
    sys.modules["clouds_under_test"].made.clear()
    install("acme-clouds", PLUGIN, version="2")
    status, _, err = command("reap")
    assert status == 1
    assert "Acme cannot be asked: install the plugin that brings it, or remove /" in err
    assert command("reap", "--provider", "Local")[0] == 0, "who is asked about one has no problem with another"


@frozen
class Regional:
    """Settings with a region, below a cloud."""

    cloud: Any = None
    region: str = "here"
    key: str | None = None

    name = "Acme"

    @property
    def capabilities(self) -> Any:
        return CLOUDS[0].provider.capabilities

    @property
    def provider(self) -> Any:
        return self

    async def open(self, identity: Any, /) -> Any:
        return await CLOUDS[self.region == "there"].provider.open(identity)


CLOUDS: list[FakeProvider] = []


def test_settings_that_the_ledger_tells_are_asked_and_others_are_a_problem(
    command: Any, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "clouds_under_test", SimpleNamespace(made={"Acme": Regional}))
    here, there = FakeProvider("Acme"), FakeProvider("Acme")
    CLOUDS[:] = [here, there]
    install("acme-clouds", PLUGIN)

    async def abandon(settings: Regional) -> None:
        journey = Journey(settings, timeout=3600)  # type: ignore[arg-type]
        await journey.road.provision()
        ledger = journey.road._books._ledger
        assert ledger is not None
        ledger._file.close()

    run(abandon(Regional(region="there")), VirtualLoop(there.clock))
    assert len(there.alive) == 1
    assert command("reap")[0] == 0
    assert (there.alive, ledgers()) == ([], [])
    run(abandon(Regional(region="there", key="hunter22")), VirtualLoop(there.clock))
    assert "hunter22" not in (state_folder() / ledgers()[0]).read_text()
    status, _, err = command("reap")
    assert status == 1
    assert "Acme was used with settings that the ledger does not tell: open a pool with them" in err
    assert len(ledgers()) == 1
    for cloud in CLOUDS:
        cloud.close()


def test_a_ledger_that_another_process_deals_with_is_left_to_it(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")
    (name,) = ledgers()
    with contextlib.ExitStack() as other:

        def listed(_: object) -> list[Any]:
            other.enter_context(claimed(state_folder() / name))
            return []

        cloud.script("list_owned", listed, lambda _: [])
        status, _, err = command("reap")
        assert (status, ledgers(), len(cloud.alive)) == (1, [name], 1)
        assert (
            err == f"skyward reap: pool {name.removesuffix('.jsonl')} is dealt with by another process: run it again\n"
        )
    assert command("reap")[0] == 0


# interrupts


def test_the_first_interrupt_waits_for_what_is_being_removed(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")

    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    cloud.script("terminate", interrupt)
    status, out, err = command("reap")
    assert err == "skyward reap: still removing Acme i-0; once more to go without waiting for that\n"
    assert out.splitlines()[-2:] == ["removed Acme i-0", "1 removed, nothing is left over"]
    assert (status, cloud.alive, ledgers()) == (130, [], [])


def test_the_second_one_says_what_is_left(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")

    async def interrupt(_: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    cloud.script("terminate", interrupt)
    status, out, err = command("reap")
    assert err.splitlines()[-1] == "skyward reap: Acme i-0 may still run: run it again"
    assert out.splitlines()[-1] == "0 removed, 1 left over: Acme i-0"
    assert (status, len(cloud.alive), len(ledgers())) == (143, 1, 1)


def test_an_interrupt_while_it_looks_ends_it_and_nothing_is_removed(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme")

    async def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    cloud.script("list_owned", interrupt, Hang)
    status, out, err = command("reap", "--json")
    assert (status, json.loads(out)["interrupted"]) == (130, True)
    assert "nothing was removed" in err
    assert len(cloud.alive) == 1
