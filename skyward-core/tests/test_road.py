"""From the request to machines and back: whatever fails, and whenever it is interrupted, nothing is left."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from road_fakes import After, FakeNode, FakeProvider, Hang, Journey, VirtualLoop, on_demand, run, spot, virtually

import skyward as sky
from skyward._ledger import Ledger, state_folder
from skyward.errors import (
    BootstrapError,
    ConfigurationError,
    PluginError,
    ProvisioningError,
    ProvisionTimeout,
    Transient,
    Unavailable,
    UsageError,
)
from skyward.model.instance import InstanceState


@pytest.fixture(autouse=True)
def _on_fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("skyward._road.Node", FakeNode)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


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
    assert journey.names == [
        "InfraCreating",
        "ClusterProvisioned",
        "InstanceLaunching",
        *["InstanceLaunched"] * 2,
        *["InstanceRunning", "InstanceProvisioned"] * 2,
        *["BootstrapStarting", "BootstrapPhase"] * 2,
        *["BootstrapPhase", "InstanceBootstrapped"] * 2,
        *["NodeReady"] * 2,
        "ClusterReady",
    ]
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
    for index, node in journey.dispatcher.nodes.items():
        assert node.configuration["cluster"] | {"head_port": 0} == {
            "node": index,
            "total_nodes": 3,
            "head_addr": "10.0.0.9",
            "head_port": 0,
            "job_id": journey.road.pool_id,
            "workers_per_node": 2,
            "accelerators": [],
        }
        assert node.configuration["environment"] == {"A": "1", "B": "2"}
    await journey.road.destroy()


@virtually
async def test_nodes_of_two_providers_meet_at_a_public_address() -> None:
    journey = Journey(FakeProvider("A", [spot("A", capacity=1)]), FakeProvider("B"), nodes=2)
    await journey.road.provision()
    assert {node.configuration["cluster"]["head_addr"] for node in journey.dispatcher.nodes.values()} == {"203.0.113.9"}
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
        ({"start": [OSError("refused")]}, OSError, "refused"),
        ({"describe": [RuntimeError("oops")]}, PluginError, "Fake failed in describe with RuntimeError: oops"),
        ({"describe": [lambda _: None]}, PluginError, "Fake failed in describe with TypeError"),
        ({"describe": [lambda ids: {ids[0]: "running"}]}, PluginError, "Fake failed in describe with AttributeError"),
        ({"bootstrap": [Hang]}, ProvisionTimeout, "not ready after 1800 s; raise provision_timeout"),
        ({"launch": [Hang]}, ProvisionTimeout, "not ready after 1800 s"),
        ({"launch": [After(Hang)]}, ProvisionTimeout, "not ready after 1800 s"),
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
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_machine_that_never_runs_is_given_up_after_the_provision_timeout(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(boot=None), provision_timeout=120)
    with pytest.raises(ProvisionTimeout, match="120 s"):
        await journey.road.provision()
    assert 120 <= asyncio.get_running_loop().time() < 130
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_machine_that_ends_before_it_runs_is_told_at_once(tmp_path: Path) -> None:
    provider = FakeProvider(boot=None)

    def ended(ids: list[str]) -> dict[str, Any]:
        return {name: evolve(provider.machines[name], state=InstanceState.GONE) for name in ids}

    provider.script["describe"] = [None, ended]
    journey = Journey(provider)
    with pytest.raises(ProvisioningError, match="machine i-0 of Fake ended before it was ready"):
        await journey.road.provision()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_provider_may_take_a_while_to_know_its_own_machine() -> None:
    journey = Journey(FakeProvider(script={"describe": [lambda ids: {}, Transient("later", retry_after=3)]}))
    await journey.road.provision()
    assert journey.road.remaining == ["i-0"]
    await journey.road.destroy()


@virtually
async def test_a_machine_that_its_provider_does_not_come_to_know_is_given_up(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(script={"describe": [lambda ids: {}] * 30}))
    with pytest.raises(ProvisioningError, match="ended before it was ready"):
        await journey.road.provision()
    assert 60 <= asyncio.get_running_loop().time() < 70
    assert list(journey.leftovers(tmp_path)) == []


# the end


@pytest.mark.parametrize(
    "script",
    [
        {"terminate": [Transient("busy"), RuntimeError("oops"), Unavailable("maintenance")]},
        {"terminate": [After(Transient("the reply was lost"))] * 3},
        {"terminate": [Hang, After(Hang), Hang]},
        {"list_owned": [Transient("busy"), RuntimeError("oops"), Hang]},
        {"close": [RuntimeError("oops")]},
        {"transport.close": [Hang, RuntimeError("oops")]},
    ],
)
@virtually
async def test_machines_are_ended_although_ending_fails_three_times(
    script: dict[str, list[object]], tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(script=script), nodes=2)
    await journey.there_and_back()
    left = [what for what in journey.leftovers(tmp_path) if "session" not in what and "road" not in what]
    assert left == []


@virtually
async def test_a_machine_counts_as_ended_only_when_its_provider_says_so(tmp_path: Path) -> None:
    provider = FakeProvider(forgetful=7)
    journey = Journey(provider)
    await journey.there_and_back()
    assert len(provider.called("terminate")) == 8
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_machines_that_cannot_be_ended_are_named_and_stay_in_the_ledger(tmp_path: Path) -> None:
    stuck = FakeProvider(
        "Stuck", [spot("Stuck", capacity=1)], script={"terminate": [Unavailable("no API today")] * 999}
    )
    sound = FakeProvider("Sound")
    journey = Journey(stuck, sound, nodes=2)
    await journey.road.provision()
    with pytest.raises(ProvisioningError) as caught:
        await journey.road.destroy()
    assert "these machines may still run and cost money: i-0 of Stuck (no API today)" in str(caught.value)
    assert "end them at the provider" in str(caught.value)
    assert journey.road.remaining == ["i-0"]
    assert sound.alive == []
    assert "terminated" in [fact["fact"] for fact in ledger(tmp_path)]
    assert journey.names[-1] == "Error"
    assert (stuck.open_sessions, sound.open_sessions) == (0, 0)
    assert journey.cost.update().spot_count == 1, "it costs on"
    with pytest.raises(ProvisioningError):
        await journey.road.destroy()


@virtually
async def test_machines_that_nobody_told_of_are_found_by_their_tag_and_ended(tmp_path: Path) -> None:
    provider = FakeProvider()

    def one_more(request: Any) -> Any:
        return provider.sessions[0].create(evolve(request, nodes=(0, 1)))[:1]

    provider.script["launch"] = [one_more]
    journey = Journey(provider)
    await journey.road.provision()
    assert (len(provider.alive), len(journey.road.remaining)) == (2, 1)
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_machine_that_comes_into_being_late_is_waited_for(tmp_path: Path) -> None:
    provider = FakeProvider()

    async def late(request: Any) -> None:
        await asyncio.sleep(3)
        provider.sessions[0].create(request)

    tasks: list[asyncio.Task[None]] = []

    def lost_reply(request: Any) -> Any:
        tasks.append(asyncio.ensure_future(late(request)))
        raise ConnectionResetError("connection reset by peer")

    provider.script["launch"] = [lost_reply]
    journey = Journey(provider, allocation="on-demand")
    with pytest.raises(ProvisioningError):
        await journey.road.provision()
    assert len(provider.machines) == 1
    assert list(journey.leftovers(tmp_path)) == []
    await asyncio.gather(*tasks)


@virtually
async def test_when_a_launch_ended_unclearly_and_nothing_can_be_listed_the_user_is_told(tmp_path: Path) -> None:
    script: dict[str, list[object]] = {"launch": [RuntimeError("oops")], "list_owned": [RuntimeError("no list")] * 99}
    journey = Journey(FakeProvider(script=script))
    with pytest.raises(ProvisioningError) as caught:
        await journey.road.provision()
    assert f"machines of Fake with the tag {journey.road.pool_id}, if there are any" in str(caught.value)
    assert ledger(tmp_path)


@virtually
async def test_when_nothing_can_be_listed_after_an_orderly_end_that_is_logged_only(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(script={"list_owned": [RuntimeError("no list")] * 99}))
    await journey.there_and_back()
    assert "cannot list what pool" in caplog.text
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_pool_that_has_ended_buys_nothing_more() -> None:
    journey = Journey(FakeProvider())
    await journey.there_and_back()
    with pytest.raises(UsageError, match="this pool has ended"):
        await journey.road.provision()
    assert len(journey.providers[0].machines) == 1
    await journey.road.destroy()


# interruptions


def provider_with_everything() -> FakeProvider:
    """Every branch of the road: a passing failure, a partial launch, a slow boot, forgetfulness."""
    offers = [spot(capacity=1), on_demand()]
    script: dict[str, list[object]] = {"launch": [Transient("busy")], "terminate": [Transient("busy")]}
    return FakeProvider(offers=offers, boot=3.0, forgetful=1, script=script)


def steps() -> tuple[int, int]:
    """At which step of the loop a journey's provisioning is over, and at which one all of it."""
    loop = VirtualLoop()

    async def whole() -> int:
        journey = Journey(provider_with_everything(), nodes=2)
        await journey.road.provision()
        ready = loop.steps
        await journey.road.destroy()
        return ready

    return run(whole(), loop), loop.steps


@pytest.mark.parametrize("how", ["cancel", "cancel and destroy", "cancel twice"])
def test_a_provisioning_that_is_cancelled_at_any_await_leaves_nothing(how: str, tmp_path: Path) -> None:
    total, _ = steps()
    assert total > 50
    cancelled = 0
    for step in range(1, total):
        loop = VirtualLoop()

        async def interrupted(loop: VirtualLoop = loop, step: int = step) -> bool:
            journey = Journey(provider_with_everything(), nodes=2)
            provisioning = asyncio.ensure_future(journey.road.provision())
            ends: list[asyncio.Future[None]] = []

            def interrupt() -> None:
                provisioning.cancel()
                if how == "cancel and destroy":  # what a pool does whose block is interrupted while it is entered
                    ends.append(asyncio.ensure_future(journey.road.destroy()))

            loop.at_step[step] = interrupt
            if how == "cancel twice":
                loop.at_step[step + 3] = lambda: provisioning.cancel()
            try:
                await provisioning
                was_cancelled = False
            except asyncio.CancelledError:
                was_cancelled = True
            await asyncio.gather(*ends)
            await journey.road.destroy()
            assert list(journey.leftovers(tmp_path)) == [], f"cancelled at step {step}"
            return was_cancelled

        cancelled += run(interrupted(), loop)
    assert cancelled > total - 10


def test_an_end_that_is_cancelled_at_any_await_goes_on_to_its_end(tmp_path: Path) -> None:
    begin, total = steps()
    for step in range(begin + 2, total):  # before that it has not begun
        loop = VirtualLoop()

        async def interrupted(loop: VirtualLoop = loop, step: int = step) -> None:
            journey = Journey(provider_with_everything(), nodes=2)
            await journey.road.provision()
            destroying = asyncio.ensure_future(journey.road.destroy())
            loop.at_step[step] = lambda: destroying.cancel()
            await asyncio.gather(destroying, return_exceptions=True)
            assert list(journey.leftovers(tmp_path)) == [], f"cancelled at step {step}"

        run(interrupted(), loop)


@pytest.mark.parametrize("entry", [Hang, After(Hang), 5.0, After(RuntimeError("oops"))])
@virtually
async def test_an_order_under_way_is_seen_through_when_the_pool_is_cancelled(entry: object, tmp_path: Path) -> None:
    journey = Journey(FakeProvider(script={"launch": [entry]}), nodes=2)
    provisioning = asyncio.ensure_future(journey.road.provision())
    await asyncio.sleep(1)
    provisioning.cancel()
    with pytest.raises((asyncio.CancelledError, ProvisioningError)):
        await provisioning
    assert asyncio.get_running_loop().time() < 60
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


# replacing a machine that was lost


def lose(journey: Journey, index: int) -> Any:
    """A node whose machine has ended by itself."""
    node = journey.dispatcher.nodes.pop(index)
    provider = journey.providers[0]
    provider.machines[node.instance.id] = evolve(node.instance, state=InstanceState.GONE)
    return node


@virtually
async def test_a_lost_machine_is_replaced_under_the_same_index(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=2)
    await journey.road.provision()
    lost = lose(journey, 1)
    noted: list[str] = []
    await journey.road.replace(lost, lambda: noted.append("ready"))
    assert journey.dispatcher.nodes[1].instance.id == "i-2"
    assert journey.dispatcher.nodes[1].configuration["cluster"]["node"] == 1
    assert noted == ["ready"]
    replaced = [event for event in journey.events if isinstance(event, sky.NodeReplaced)]
    assert replaced == [sky.NodeReplaced(1, "i-1", "i-2")]
    assert journey.cost.update().spot_count == 2
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_replacement_that_fails_leaves_the_other_machines_and_nothing_else(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=2)
    await journey.road.provision()
    lost = lose(journey, 1)
    journey.providers[0].script["bootstrap"] = [BootstrapError("pip failed")]
    with pytest.raises(BootstrapError):
        await journey.road.replace(lost, lambda: None)
    assert journey.alive == ["i-0"]
    assert journey.providers[0].open_roads == {"i-0"}
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_a_lost_machine_that_cannot_be_ended_now_is_replaced_all_the_same(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    journey = Journey(FakeProvider(), nodes=1)
    await journey.road.provision()
    node = journey.dispatcher.nodes.pop(0)
    journey.providers[0].script["terminate"] = [Unavailable("no API now")] * 30
    await journey.road.replace(node, lambda: None)
    assert journey.dispatcher.nodes[0].instance.id == "i-1"
    assert "ended later, with the pool" in caplog.text
    journey.providers[0].script.clear()
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


def test_a_pool_that_ends_while_a_machine_is_replaced_leaves_nothing(tmp_path: Path) -> None:
    for step in range(1, 40):

        async def ended(step: int = step) -> None:
            journey = Journey(FakeProvider(boot=1.0), nodes=2)
            await journey.road.provision()
            lost = lose(journey, 0)
            replacing = asyncio.ensure_future(journey.road.replace(lost, lambda: None))
            for _ in range(step):
                await asyncio.sleep(0)
            if step % 2:
                await asyncio.sleep(0.5)
            await journey.road.destroy()
            await asyncio.gather(replacing, return_exceptions=True)
            assert list(journey.leftovers(tmp_path)) == [], f"ended at step {step}"

        run(ended())


@virtually
async def test_two_lost_machines_are_replaced_side_by_side_without_harm(tmp_path: Path) -> None:
    journey = Journey(FakeProvider(), nodes=3)
    await journey.road.provision()
    lost = [lose(journey, index) for index in (0, 2)]
    # One order fails in a way that has what it left behind looked for, while the other one is on its way.
    journey.providers[0].script["launch"] = [After(Transient("the reply was lost"))]
    await asyncio.gather(*(journey.road.replace(node, lambda: None) for node in lost))
    assert len(journey.alive) == 3
    assert sorted(journey.dispatcher.nodes) == [0, 1, 2]
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []
