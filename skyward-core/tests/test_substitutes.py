"""Machines that are lost before the pool is complete: another one takes the place, and the others are not disturbed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from road_fakes import FakeProvider, Hang, Journey, VirtualLoop, on_demand, run, spot, virtually

import skyward as sky
from skyward.errors import (
    AllProvidersFailedError,
    BootstrapError,
    NodeLost,
    PluginError,
    ProvisioningError,
    ProvisionTimeout,
    Unavailable,
)
from skyward.model.events import InstancePreempted, NodeReplaced

pytestmark = pytest.mark.usefixtures("own_ledgers")


def of(journey: Journey, kind: type[Any]) -> list[Any]:
    return [event for event in journey.events if isinstance(event, kind)]


def losing(provider: FakeProvider, *ids: str) -> Callable[[Any], Any]:
    """An entry for ``describe``: these end by themselves, and it answers as it does then."""

    def lost(wanted: list[str]) -> Any:
        for each in ids:
            provider.lose(each)
        return provider._backend.describe(wanted)

    return lost


async def ended(journey: Journey, state: Path) -> None:
    await journey.road.destroy()
    assert list(journey.leftovers(state)) == []


@virtually
async def test_a_machine_that_ends_before_it_runs_is_replaced_while_the_others_go_on(tmp_path: Path) -> None:
    provider = FakeProvider(boot=20.0)
    provider.script("describe", None, losing(provider, "i-1"))
    journey = Journey(provider, nodes=3)
    await journey.road.provision()
    assert {index: node.instance.id for index, node in journey.dispatcher.nodes.items()} == {
        0: "i-0",
        1: "i-3",
        2: "i-2",
    }
    assert [order.nodes for order in provider.called("launch")] == [(0, 1, 2), (1,)]
    (preempted,) = of(journey, InstancePreempted)
    assert (preempted.instance_id, preempted.node) == ("i-1", 1)
    assert of(journey, NodeReplaced) == [NodeReplaced(1, "i-1", "i-3")]
    mine = [type(each).__name__ for each in journey.events if getattr(each, "instance_id", "") == "i-3"]
    assert mine[:3] == ["InstanceLaunched", "InstanceRunning", "InstanceProvisioned"]
    assert journey.names.index("NodeReplaced") > journey.names.index("InstancePreempted")
    assert journey.names[-1] == "ClusterReady"
    ready = [event.node for event in of(journey, sky.NodeReady)]
    assert sorted(ready) == [0, 1, 2]
    assert ready[-1] == 1, "the others were ready by then"
    await ended(journey, tmp_path)


@virtually
async def test_a_machine_that_its_provider_does_not_come_to_know_is_given_up_for_another_one(tmp_path: Path) -> None:
    unknown = FakeProvider("Unknown", script={"describe": [lambda ids: {}] * 30})
    journey = Journey(unknown)
    await journey.road.provision()
    assert 60 <= asyncio.get_running_loop().time() < 120
    assert [machine.id for machine in unknown.alive] == ["i-1"]
    await ended(journey, tmp_path)


@pytest.mark.parametrize("method", ["bootstrap", "transport.open"])
@virtually
async def test_a_machine_that_ends_while_it_is_made_ready_is_replaced(method: str, tmp_path: Path) -> None:
    provider = FakeProvider()

    def cut(_: object) -> None:
        provider.lose("i-0")
        raise ConnectionResetError("connection reset by peer")

    provider.script(method, cut)
    journey = Journey(provider, nodes=2)
    await journey.road.provision()
    assert journey.dispatcher.nodes[0].instance.id == "i-2"
    assert of(journey, NodeReplaced) == [NodeReplaced(0, "i-0", "i-2")]
    heads = {machine.configuration["cluster"]["head_port"] for machine in provider.alive if machine.configuration}
    assert len(heads) == 1
    await ended(journey, tmp_path)


@virtually
async def test_a_failed_bootstrap_of_a_machine_that_is_gone_is_a_lost_machine(tmp_path: Path) -> None:
    provider = FakeProvider()

    def cut(_: object) -> None:
        provider.preempt("i-0")
        raise BootstrapError("pip was killed", phase="deps")

    provider.script("bootstrap", cut)
    journey = Journey(provider)
    await journey.road.provision()
    (preempted,) = of(journey, InstancePreempted)
    assert preempted.reason == "it ended while it was made ready (pip was killed)"
    await ended(journey, tmp_path)


@virtually
async def test_a_failed_bootstrap_of_a_machine_that_is_there_fails_at_once(tmp_path: Path) -> None:
    provider = FakeProvider(script={"bootstrap": [BootstrapError("no such package", phase="deps")]})
    journey = Journey(provider, nodes=2)
    with pytest.raises(BootstrapError, match="no such package"):
        await journey.road.provision()
    assert asyncio.get_running_loop().time() < 2
    assert len(provider.called("launch")) == 1
    await ended(journey, tmp_path)


@virtually
async def test_a_machine_that_runs_and_cannot_be_reached_is_replaced_once(tmp_path: Path) -> None:
    provider = FakeProvider(script={"bootstrap": [ConnectionError("no route to host")]})
    journey = Journey(provider, nodes=2)
    await journey.road.provision()
    (preempted,) = of(journey, InstancePreempted)
    assert "runs, but cannot be reached: no route to host" in preempted.reason
    assert preempted.instance_id not in {machine.id for machine in provider.alive}
    assert len(provider.called("launch")) == 2
    await ended(journey, tmp_path)


@virtually
async def test_a_second_one_that_cannot_be_reached_fails_the_pool_and_is_no_bug_of_the_plugin(tmp_path: Path) -> None:
    provider = FakeProvider(script={"bootstrap": [ConnectionError("no route to host")] * 2})
    journey = Journey(provider)
    with pytest.raises(ProvisioningError, match=r"i-1 of .* cannot be reached: no route to host; see whether a fire"):
        await journey.road.provision()
    assert len(provider.called("launch")) == 2
    await ended(journey, tmp_path)


@virtually
async def test_a_transport_that_knows_that_its_machine_has_ended_gets_another_one(tmp_path: Path) -> None:
    provider = FakeProvider(script={"bootstrap": [NodeLost("the machine has ended")] * 2})
    journey = Journey(provider)
    await journey.road.provision()
    assert [event.reason for event in of(journey, InstancePreempted)] == ["the machine has ended"] * 2
    await ended(journey, tmp_path)


@virtually
async def test_a_provider_that_says_only_later_that_a_machine_is_gone_is_waited_for(tmp_path: Path) -> None:
    provider = FakeProvider(forgetful=2)

    def cut(_: object) -> None:
        provider.lose("i-0")
        raise ConnectionResetError("connection reset by peer")

    provider.script("bootstrap", cut)
    journey = Journey(provider)
    await journey.road.provision()
    assert journey.dispatcher.nodes[0].instance.id == "i-1"
    await ended(journey, tmp_path)


@virtually
async def test_another_failure_of_the_system_although_the_machine_is_there_is_the_plugins(tmp_path: Path) -> None:
    provider = FakeProvider(script={"bootstrap": [PermissionError("not allowed")]})
    journey = Journey(provider)
    with pytest.raises(PluginError, match="not allowed"):
        await journey.road.provision()
    assert len(provider.machines) == 1
    await ended(journey, tmp_path)


@virtually
async def test_after_some_losses_the_pool_fails_and_says_what_befell_each_machine(tmp_path: Path) -> None:
    provider = FakeProvider("Bad", [spot("Bad")], boot=10.0)
    journey = Journey(provider, nodes=1)

    def doomed(wanted: list[str]) -> Any:
        return losing(provider, *wanted)(wanted) if provider.alive else provider._backend.describe(wanted)

    provider.script["describe"] = [doomed] * 99
    with pytest.raises(ProvisioningError) as caught:
        await journey.road.provision()
    said = str(caught.value)
    assert "node 0 lost 4 machines before it was ready" in said
    for index in range(4):
        assert f"i-{index} (Bad small, spot, here-1): machine i-{index} of Bad ended before it was ready" in said
    assert len(provider.machines) == 4
    await ended(journey, tmp_path)


@virtually
async def test_an_offer_whose_machines_are_lost_again_and_again_is_tried_last(tmp_path: Path) -> None:
    provider = FakeProvider("F", [spot("F"), on_demand("F", "large")], boot=1.0)

    def doomed(wanted: list[str]) -> Any:
        for machine in provider.alive:
            if machine.offer.market == "spot":
                provider.preempt(machine)
        return provider._backend.describe(wanted)

    provider.script["describe"] = [doomed] * 99
    journey = Journey(provider)
    await journey.road.provision()
    assert [order.offer.market for order in provider.called("launch")] == ["spot", "spot", "on-demand"]
    assert [event.old_instance_id for event in of(journey, NodeReplaced)] == ["i-1"]
    await ended(journey, tmp_path)


@virtually
async def test_when_no_other_machine_is_to_be_had_the_loss_and_the_answers_are_told(tmp_path: Path) -> None:
    provider = FakeProvider("One", [spot("One")], boot=5.0)
    provider.script("launch", None, Unavailable("sold out"))
    provider.script("describe", None, losing(provider, "i-0"))
    journey = Journey(provider, nodes=2)
    with pytest.raises(AllProvidersFailedError) as caught:
        await journey.road.provision()
    said = str(caught.value)
    assert "node 0 has lost its machine, i-0 (One small, spot, here-1): machine i-0 of One ended" in said
    assert "1 of 1 machine(s) could not be had: One small (spot, here-1): sold out" in said
    await ended(journey, tmp_path)


@virtually
async def test_the_offers_are_asked_anew_for_another_machine_and_an_old_answer_has_to_do_where_none_comes(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    provider = FakeProvider("F", [spot("F"), on_demand("F")], boot=5.0)
    silent = FakeProvider("Silent")
    silent.script("offers", None, Hang)

    def lost(wanted: list[str]) -> Any:
        provider.sell(on_demand("F", "small", 2.0))
        return losing(provider, "i-0")(wanted)

    provider.script("describe", None, lost)
    journey = Journey(provider, silent)
    await journey.road.provision()
    assert [machine.offer.price for machine in provider.alive] == [2.0]
    assert "the earlier offers of Silent have to do: Silent did not answer to offers within 30 s" in caplog.text
    await ended(journey, tmp_path)


@virtually
async def test_a_node_that_is_lost_while_others_are_made_ready_is_there_when_the_pool_is(tmp_path: Path) -> None:
    provider = FakeProvider()

    async def slowly(_: object) -> None:
        await asyncio.sleep(30)
        provider.lose("i-0")
        await asyncio.sleep(90)

    provider.script("bootstrap", None, slowly)
    journey = Journey(provider, nodes=2)
    await journey.road.provision()
    assert {index: node.instance.id for index, node in journey.dispatcher.nodes.items()} == {0: "i-2", 1: "i-1"}
    assert journey.names[-1] == "ClusterReady"
    assert of(journey, NodeReplaced) == [NodeReplaced(0, "i-0", "i-2")]
    assert journey.road.lost_early() == []
    await ended(journey, tmp_path)


@virtually
async def test_a_replacement_that_does_not_come_up_ends_after_the_provision_timeout(tmp_path: Path) -> None:
    provider = FakeProvider()
    journey = Journey(provider, nodes=2, provision_timeout=300)
    await journey.road.provision()
    provider.lose("i-1")
    lost = journey.dispatcher.nodes.pop(1)
    provider._backend.boot_seconds = None
    with pytest.raises(ProvisionTimeout, match="no other machine was ready after 300 s"):
        await journey.road.replace(lost, lambda: None)
    assert journey.alive == ["i-0"]
    await ended(journey, tmp_path)


def test_a_pool_that_is_cancelled_at_any_await_while_a_machine_is_replaced_leaves_nothing(tmp_path: Path) -> None:
    def journey() -> tuple[FakeProvider, Journey]:
        provider = FakeProvider(boot=3.0)
        provider.script("describe", None, losing(provider, "i-1"))
        return provider, Journey(provider, nodes=2)

    async def whole(loop: VirtualLoop) -> int:
        _, way = journey()
        await way.road.provision()
        total = loop.steps
        await way.road.destroy()
        return total

    measured = VirtualLoop()
    total = run(whole(measured), measured)
    for step in range(1, total, 3):
        loop = VirtualLoop()

        async def cancelled(loop: VirtualLoop = loop, step: int = step) -> None:
            _, way = journey()
            provisioning = asyncio.ensure_future(way.road.provision())
            loop.at_step[step] = provisioning.cancel
            await asyncio.gather(provisioning, return_exceptions=True)
            await way.road.destroy()
            assert list(way.leftovers(tmp_path)) == [], f"cancelled at step {step}"

        run(cancelled(), loop)


@virtually
async def test_a_bootstrap_that_hangs_because_its_machine_is_gone_is_cut_off(tmp_path: Path) -> None:
    provider = FakeProvider()

    async def hangs(_: object) -> None:
        await asyncio.sleep(40)
        provider.preempt("i-0")
        await asyncio.Event().wait()

    provider.script("bootstrap", hangs)
    provider.script("describe", None, None, RuntimeError("oops"))
    journey = Journey(provider, lease=None)
    await journey.road.provision()
    assert 40 < asyncio.get_running_loop().time() < 70
    assert journey.dispatcher.nodes[0].instance.id == "i-1"
    await ended(journey, tmp_path)


@virtually
async def test_a_connection_that_hangs_is_tried_again(tmp_path: Path) -> None:
    provider = FakeProvider(script={"transport.open": [Hang]})
    journey = Journey(provider)
    await journey.road.provision()
    assert 30 <= asyncio.get_running_loop().time() < 35
    await ended(journey, tmp_path)


@virtually
async def test_a_machine_that_runs_and_cannot_be_reached_fails_the_pool_with_the_reason(tmp_path: Path) -> None:
    provider = FakeProvider(script={"transport.open": [ConnectionRefusedError("refused")] * 9999})
    journey = Journey(provider, lease=None)
    with pytest.raises(ProvisioningError, match="machine i-0 of Fake runs, but cannot be reached: refused"):
        await journey.road.provision()
    assert len(provider.machines) == 1
    await ended(journey, tmp_path)


def test_a_node_that_is_lost_just_as_the_pool_becomes_ready_is_not_forgotten() -> None:
    engine = sky.ComputePool(display="quiet", timeout=None)._engine
    given_up: list[int] = []
    stand_in: Any = SimpleNamespace(lock=contextlib.nullcontext(), give_up=given_up.append, on_node_lost=None)
    engine.dispatcher = stand_in
    road: Any = SimpleNamespace(deadline=None, lost_early=lambda: [(SimpleNamespace(index=1), "deadline")])
    engine._made_road = road
    reactor: Any = SimpleNamespace(call_later=lambda seconds, action: None)
    engine._made_reactor = reactor
    engine.complete()
    assert given_up == [1], "its time is over, so no other comes, and what waits for it is told"
    engine.state = "ended"
