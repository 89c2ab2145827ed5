"""From the request to machines that take tasks: in order, noted before it is bought, and rolled back when it fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from road_fakes import After, FakeProvider, Hang, Journey, spot, virtually

import skyward as sky
from skyward._ledger import Ledger, state_folder
from skyward.errors import (
    AllProvidersFailedError,
    BootstrapError,
    ConfigurationError,
    PluginError,
    ProvisioningError,
    ProvisionTimeout,
    Transient,
)
from skyward.spi import Capabilities

pytestmark = pytest.mark.usefixtures("own_ledgers")


def ledger(state: Path) -> list[dict[str, Any]]:
    """The facts of the one ledger that there is."""
    (path,) = state.rglob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


# there and back


@virtually
async def test_the_events_of_a_pool_come_in_their_order(tmp_path: Path) -> None:
    provider = FakeProvider(boot=40.0)
    journey = Journey(provider, nodes=2)
    await journey.road.provision()
    assert journey.names[:5] == [
        "InfraCreating",
        "ClusterProvisioned",
        "InstanceLaunching",
        *["InstanceLaunched"] * 2,
    ]
    of_each = [
        "InstanceRunning",
        "InstanceProvisioned",
        "BootstrapStarting",
        *["BootstrapPhase"] * 2,
        "InstanceBootstrapped",
        "NodeReady",
    ]
    for name in ("i-0", "i-1"):
        mine = [type(each).__name__ for each in journey.events[5:] if getattr(each, "instance_id", "") == name]
        assert mine == of_each
    assert journey.names[5 + 2 * len(of_each) :] == ["ClusterReady"]
    assert sorted(journey.dispatcher.nodes) == [0, 1]
    assert journey.road.remaining == ["i-0", "i-1"]
    await journey.road.destroy()
    assert journey.names[-2:] == ["InstanceStopping"] * 2
    assert journey.road.remaining == []
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_every_node_is_told_of_the_cluster_and_its_own_place() -> None:
    provider = FakeProvider()
    journey = Journey(provider, nodes=3, concurrency=2, env={"A": "1"}, image=sky.Image(env={"A": "0", "B": "2"}))
    await journey.road.provision()
    for index, machine in enumerate(provider.machines):
        told = machine.configuration
        assert told is not None
        assert told["cluster"] | {"head_port": 0} == {
            "node": index,
            "total_nodes": 3,
            "head_addr": "10.0.0.9",
            "head_port": 0,
            "job_id": journey.road.pool_id,
            "workers_per_node": 2,
            "accelerators": [],
        }
        assert told["environment"] == {"A": "1", "B": "2"}
    await journey.road.destroy()


@virtually
async def test_nodes_of_two_providers_meet_at_a_public_address() -> None:
    journey = Journey(FakeProvider("A", [spot("A", capacity=1)]), FakeProvider("B"), nodes=2)
    await journey.road.provision()
    told = [machine.configuration for cloud in journey.providers for machine in cloud.machines]
    assert [each and each["cluster"]["head_addr"] for each in told] == ["203.0.113.9"] * 2
    await journey.road.destroy()


@virtually
async def test_what_machines_cost_is_counted_from_their_launch_to_their_proven_end() -> None:
    loop = asyncio.get_running_loop()
    journey = Journey(FakeProvider(boot=60.0), nodes=4, allocation=0.5)  # two at $0.25, two at $1.00 an hour
    await journey.road.provision()
    await asyncio.sleep(7200 - loop.time())
    now = journey.cost.update()
    assert (now.spot_count, now.ondemand_count, now.hourly_rate) == (2, 2, 2.5)
    await journey.road.destroy()
    await asyncio.sleep(3600)
    final = journey.cost.final()
    assert final.total_cost == pytest.approx(5.0, abs=0.01)
    assert final.savings_vs_ondemand == pytest.approx(3.0, abs=0.01)
    assert journey.cost.update().hourly_rate == 0


# the ledger


@virtually
async def test_the_intent_stands_in_the_ledger_before_the_launch_and_no_secret_ever_does(tmp_path: Path) -> None:
    provider = FakeProvider()
    seen: list[list[dict[str, Any]]] = []

    def look(request: Any) -> Any:
        seen.append(ledger(tmp_path))
        return provider.sessions[0].create(request)

    provider.script["launch"] = [look]
    journey = Journey(provider, nodes=2, env={"PASSWORD": "hunter2"})
    await journey.road.provision()
    opened, launching = seen[0]
    assert opened["fact"] == "opened"
    assert opened["owner"] == journey.road.owner
    assert {key: launching[key] for key in ("fact", "provider", "machine", "nodes", "region")} == {
        "fact": "launching",
        "provider": "Fake",
        "machine": "small",
        "nodes": [0, 1],
        "region": "here-1",
    }
    assert [fact["ids"] for fact in ledger(tmp_path) if fact["fact"] == "launched"] == [["i-0"], ["i-1"]]
    path = state_folder() / f"{journey.road.pool_id}.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    token = provider.called("open")[0].token
    for secret in ("hunter2", token.hex(), repr(token)):
        assert secret not in path.read_text()
    await journey.road.destroy()
    assert not path.exists()


@virtually
async def test_without_a_ledger_nothing_is_bought(tmp_path: Path) -> None:
    (tmp_path / "skyward").write_text("a file where a folder must be")
    journey = Journey(FakeProvider())
    with pytest.raises(ConfigurationError, match="set XDG_STATE_HOME"):
        await journey.road.provision()
    assert not journey.providers[0].machines


@virtually
async def test_a_ledger_that_cannot_be_written_any_more_stops_buying_but_no_ending(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = FakeProvider(script={"launch": [None, None]})
    journey = Journey(provider, nodes=2, allocation=0.5)
    record = Ledger.record

    def full(self: Ledger, fact: str, **values: Any) -> None:
        if provider.machines:
            raise self._unwritable(OSError(28, "No space left on device"))
        record(self, fact, **values)

    monkeypatch.setattr(Ledger, "record", full)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        await journey.road.provision()
    assert len(provider.machines) == 1
    assert list(journey.leftovers(tmp_path)) == []


def test_ledgers_are_below_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "skyward" / "pools"
    kept = Ledger("pool", tmp_path / "new" / "folder")
    kept.record("launching", nodes=[0])
    kept.close(clean=False)
    assert json.loads(kept.path.read_text())["nodes"] == [0]


# failures on the way


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ({"bootstrap": [BootstrapError("pip failed", phase="deps")]}, BootstrapError, "pip failed"),
        ({"bootstrap": [None, BootstrapError("pip failed", phase="deps")]}, BootstrapError, "pip failed"),
        ({"bootstrap": [RuntimeError("oops")]}, PluginError, "Fake failed in bootstrap with RuntimeError: oops"),
        ({"transport": [RuntimeError("oops")]}, PluginError, "Fake failed in transport with RuntimeError: oops"),
        ({"transport.open": [OSError("refused")] * 9999}, ProvisioningError, "runs, but cannot be reached: refused"),
        ({"describe": [RuntimeError("oops")]}, PluginError, "Fake failed in describe with RuntimeError: oops"),
        ({"describe": [lambda _: None]}, PluginError, "Fake failed in describe with TypeError"),
        ({"describe": [lambda ids: {ids[0]: "running"}]}, PluginError, "Fake failed in describe with AttributeError"),
        ({"bootstrap": [Hang]}, ProvisionTimeout, "not ready after 1800 s; raise provision_timeout"),
        ({"launch": [Hang]}, AllProvidersFailedError, "Fake did not answer to launch within 300 s"),
        ({"launch": [After(Hang)]}, AllProvidersFailedError, "Fake did not answer to launch within 300 s"),
        ({"describe": [Hang] * 53}, ProvisionTimeout, "not ready after 1800 s"),
    ],
)
@virtually
async def test_whatever_fails_on_the_way_is_raised_and_rolled_back(
    script: dict[str, list[object]], error: type[BaseException], said: str, tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(script=script), nodes=2)
    with pytest.raises(error) as caught:
        await journey.road.provision()
    assert said in str(caught.value)
    await journey.road.destroy()
    left = list(journey.leftovers(tmp_path))
    if "launch" in script:  # nobody knows what an order brings forth that was never answered
        left = [what for what in left if not what.startswith("ledger")]
    assert left == []


@virtually
async def test_a_provider_says_itself_how_long_its_launches_may_take() -> None:
    patient = FakeProvider(script={"launch": [1000.0]}, capabilities=Capabilities(launch_limit=1100))
    journey = Journey(patient)
    await journey.road.provision()
    assert asyncio.get_running_loop().time() >= 1000
    await journey.road.destroy()


@virtually
async def test_a_machine_that_never_runs_is_given_up_after_the_provision_timeout(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(boot=None), provision_timeout=120)
    with pytest.raises(ProvisionTimeout, match="120 s"):
        await journey.road.provision()
    assert 120 <= asyncio.get_running_loop().time() < 130
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_provider_may_take_a_while_to_know_its_own_machine() -> None:
    journey = Journey(FakeProvider(script={"describe": [lambda ids: {}, Transient("later", retry_after=3)]}))
    await journey.road.provision()
    assert journey.road.remaining == ["i-0"]
    await journey.road.destroy()
