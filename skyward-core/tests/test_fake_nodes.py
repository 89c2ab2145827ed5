"""Pools over a fake cloud: with local nodes tasks run and faults arrive, with simulated ones there are answers only."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_fakes import NO_WIRE, buy, session_of, simulated
from road_fakes import Journey

import skyward as sky
from skyward import _local_processes
from skyward.errors import NodeLost, ProvisioningError, Unavailable, UsageError
from skyward.model.events import SkywardEvent
from skyward.spi import Interpreter
from skyward.testing import FakeCloud, on_demand, spot
from skyward.testing._local_node import LocalNode
from skyward.testing._loop import VirtualLoop, run, virtually
from skyward.worker.protocol import END, TASK, Frame, Kind, encode, head_of

pytestmark = pytest.mark.usefixtures("own_ledgers")


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


class Seen:
    """The events of a pool, and a wait for one of them."""

    def __init__(self) -> None:
        self.events: list[SkywardEvent] = []
        self._came = threading.Condition()

    def __call__(self, event: SkywardEvent) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()

    def first[E: SkywardEvent](self, kind: type[E]) -> E:
        with self._came:
            assert self._came.wait_for(lambda: self._of(kind), 60), f"no {kind.__name__} came"
            return self._of(kind)[0]

    def _of[E: SkywardEvent](self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def pool(cloud: FakeCloud, **parameters: Any) -> sky.ComputePool:
    return sky.ComputePool(provider=cloud.provider, display="quiet", **parameters)


@sky.compute
def double(x: int) -> int:
    return 2 * x


@sky.compute
def forever(path: str) -> None:
    Path(path).touch()
    signal.pause()


@sky.compute
def place() -> tuple[int, int]:
    info = sky.instance_info()
    return info.node, info.total_nodes


def until_there(path: Path) -> None:
    """Wait for a task's first sign."""
    ready = threading.Event()
    while not path.exists():
        ready.wait(0.01)


def marks(cloud: FakeCloud) -> list[_local_processes.Mark]:
    """The processes of a cloud's machines."""
    names = {f"fake-{machine.pool_id}-{machine.id}" for machine in cloud.machines}
    return _local_processes.find(None, names)


# local nodes


def test_tasks_run_on_local_nodes_and_nothing_of_them_is_left(cloud: FakeCloud) -> None:
    with pool(cloud, nodes=2) as both:
        assert double(21) >> both == 42
        assert place() @ both == ((0, 2), (1, 2))
        assert [machine.node for machine in cloud.alive] == [0, 1]
        told = cloud.machines[1].configuration
        assert told is not None
        assert told["cluster"]["node"] == 1
    assert [machine.why for machine in cloud.machines] == ["terminated"] * 2
    assert (cloud.open_sessions, cloud.open_roads, marks(cloud)) == (0, set(), [])


def test_the_final_cost_is_exact_by_the_clock_of_the_cloud(cloud: FakeCloud) -> None:
    seen = Seen()
    cloud.sell(spot(price=0.37, on_demand_price=1.11), on_demand(price=1.11))
    with pool(cloud, nodes=2, on_event=seen):
        cloud.clock.advance(3600)
    final = seen.first(sky.CostFinal)
    assert (final.total_cost, final.savings_vs_ondemand, final.total_seconds) == (0.74, 1.48, 3600)
    assert final.total_cost == cloud.bill()


def test_a_pool_that_is_entered_outside_of_the_block_reckons_by_the_systems_clock() -> None:
    cloud, seen = FakeCloud(), Seen()
    with pool(cloud, on_event=seen):
        cloud.clock.advance(1800)
    assert seen.first(sky.CostFinal).total_seconds < 1800


def test_what_is_scripted_befalls_a_real_pool(cloud: FakeCloud) -> None:
    cloud.script("launch", Unavailable("no spot capacity"))
    cloud.script("bootstrap", 600.0)
    with pool(cloud, timeout=7200) as one:
        assert double(1) >> one == 2
        assert [machine.offer.market for machine in cloud.alive] == ["on-demand"]
        assert cloud.clock.monotonic() == 600
    with pytest.raises(ProvisioningError, match="no GPUs today"):
        cloud.sell(spot())
        cloud.script("launch", *[Unavailable("no GPUs today")] * 9)
        pool(cloud).__enter__()
    assert cloud.alive == []


def test_a_slow_boot_costs_virtual_time_only(cloud: FakeCloud) -> None:
    cloud = FakeCloud(boot_seconds=240)
    with cloud, pool(cloud) as one:
        assert double(1) >> one == 2
    assert cloud.machines[0].billed() == 240


@pytest.mark.parametrize("how", ["preempt", "preempt after a notice", "lose"])
def test_a_pool_sees_that_a_machine_is_taken_away_and_gets_another_one(cloud: FakeCloud, how: str) -> None:
    seen = Seen()
    with pool(cloud, nodes=2, on_event=seen) as both:
        if how == "lose":
            cloud.lose(1)
        else:
            cloud.preempt(1, notice=0 if how == "preempt" else 120)
            cloud.clock.advance(120)
        preempted = seen.first(sky.InstancePreempted)
        assert (preempted.instance_id, preempted.node) == ("i-1", 1)
        replaced = seen.first(sky.NodeReplaced)
        assert (replaced.node, replaced.old_instance_id, replaced.new_instance_id) == (1, "i-1", "i-2")
        assert place() @ both == ((0, 2), (1, 2))
    assert [machine.alive for machine in cloud.machines] == [False] * 3
    assert marks(cloud) == []


def test_a_task_on_a_machine_that_is_taken_away_fails_or_runs_again(cloud: FakeCloud, tmp_path: Path) -> None:
    with pool(cloud) as one:
        task = one.submit(forever(str(tmp_path / "begun")))
        until_there(tmp_path / "begun")
        cloud.preempt(0)
        with pytest.raises((NodeLost, sky.OutcomeUnknown)):
            task.result(60)


def test_the_deadline_ends_local_nodes_by_the_clouds_clock_and_their_task_is_told_why(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    with pool(cloud, timeout=3600) as one:
        task = one.submit(forever(str(tmp_path / "begun")))
        until_there(tmp_path / "begun")
        cloud.clock.advance(7200)
        assert cloud.alive == []
        with pytest.raises(sky.SkywardError, match="timeout"):
            task.result(60)
    (machine,) = cloud.machines
    assert (machine.ended, machine.why, machine.billed()) == (3600, "deadline", 3600)


@pytest.mark.parametrize("nodes", ["local", "simulated"])
def test_extending_a_pool_moves_the_deadline_of_its_machines(nodes: Any) -> None:
    with FakeCloud(nodes=nodes) as cloud, pool(cloud, timeout=3600) as one:
        cloud.clock.advance(3000)
        one.extend(3600)
        cloud.clock.advance(3599)
        assert len(cloud.alive) == 1
        cloud.clock.advance(1)
        assert cloud.alive == []
    assert cloud.machines[0].ended == 6600


def test_a_machine_whose_processes_end_by_themselves_has_ended(cloud: FakeCloud) -> None:
    seen = Seen()
    with pool(cloud, on_event=seen):
        (mark,) = marks(cloud)
        os.kill(min(mark.pids), signal.SIGKILL)
        assert seen.first(sky.InstancePreempted).instance_id == "i-0"
        assert cloud.machines[0].why == "ended by itself"


def test_the_end_of_the_clouds_block_ends_local_nodes_too() -> None:
    async def leave_one(cloud: FakeCloud) -> None:
        session = await session_of(cloud, lease=60)
        (instance,) = await buy(session)
        session.transport(instance, NO_WIRE)

    with FakeCloud() as cloud:
        asyncio.run(leave_one(cloud))
        assert len(marks(cloud)) == 1
    assert marks(cloud) == []
    assert cloud.alive == []


def test_a_local_machine_whose_client_has_stopped_its_processes_costs_until_it_is_terminated() -> None:
    async def stopped(cloud: FakeCloud) -> None:
        session = await session_of(cloud, lease=60)
        (instance,) = await buy(session)
        session.transport(instance, NO_WIRE)
        node = cloud._backend.records["i-0"].body
        assert isinstance(node, LocalNode)
        node.heard(Frame(Kind.STOP, 0, 0, b"", []))
        (mark,) = marks(cloud)
        os.kill(min(mark.pids), signal.SIGKILL)
        assert node._processes is not None
        node._processes.process.wait()
        assert cloud.machines[0].alive
        await session.terminate(["i-0"])

    with FakeCloud() as cloud:
        asyncio.run(stopped(cloud))
    assert cloud.machines[0].why == "terminated"


# simulated nodes


def test_a_real_pool_is_provisioned_on_simulated_nodes_whose_tasks_fail_and_say_why() -> None:
    with simulated() as cloud, pool(cloud, nodes=3, concurrency=2) as three:
        with pytest.raises(UsageError, match="simulated nodes run no tasks"):
            sky.ComputeFunction(len, together=True)("") @ three
        with pytest.raises(UsageError, match="simulated nodes run no tasks: make the cloud with nodes='local'"):
            double(1) >> three
        cloud.clock.advance(3000)
        assert len(cloud.alive) == 3, "its lease is kept by a client whose time passes by itself"
        assert marks(cloud) == []
    assert cloud.alive == []


def test_a_real_pool_sees_that_a_simulated_machine_is_taken_away() -> None:
    seen = Seen()
    with simulated() as cloud, pool(cloud, nodes=2, on_event=seen):
        cloud.preempt(0)
        assert "i-0 has ended: preempted" in seen.first(sky.InstancePreempted).reason
        assert seen.first(sky.NodeReplaced).new_instance_id == "i-2"


@virtually
async def test_a_client_that_says_a_word_now_and_then_keeps_the_lease_of_simulated_nodes() -> None:
    cloud = simulated()
    journey = Journey(cloud, nodes=2, lease=60)
    await journey.road.provision()
    await asyncio.sleep(3000)
    assert len(cloud.alive) == 2
    for node in journey.dispatcher.nodes.values():
        node.close()
    last = asyncio.get_running_loop().time()
    journey.dispatcher.nodes.clear()
    await asyncio.sleep(100)
    assert [machine.why for machine in cloud.machines] == ["lease"] * 2
    assert all(machine.ended == pytest.approx(last + 60) for machine in cloud.machines)
    await journey.road.destroy()


@virtually
async def test_a_bootstrap_keeps_the_lease_of_its_machine_and_a_dead_client_does_not() -> None:
    cloud = simulated(script={"bootstrap": [600.0]})
    journey = Journey(cloud, lease=60)
    await journey.road.provision()
    assert len(cloud.alive) == 1
    await journey.road.destroy()


def test_after_its_clients_death_in_the_midst_of_a_bootstrap_a_machine_ends_itself() -> None:
    cloud = simulated(script={"bootstrap": [600.0]})
    loop = VirtualLoop(cloud.clock)
    cloud.clock.call_at(100, lambda: loop.die_at(loop.steps + 1))

    async def provision() -> None:
        await Journey(cloud, lease=60).road.provision()

    with pytest.raises(BaseException, match="at step"):
        run(provision(), loop)
    assert len(cloud.alive) == 1
    cloud.clock.advance(3600)
    (machine,) = cloud.machines
    assert machine.why == "lease"
    assert machine.ended is not None
    assert 100 <= machine.ended <= 160


class Receiver:
    """What has arrived on a link."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.lost: list[Exception | None] = []

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def on_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


@virtually
async def test_a_simulated_node_speaks_the_protocol_of_a_real_one() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    (instance,) = await buy(session)
    road = session.transport(instance, NO_WIRE)
    phases: list[tuple[str, str]] = []
    interpreter = await road.bootstrap(sky.Image(), lambda phase, state, seconds: phases.append((phase, state)))
    assert (interpreter, phases) == (Interpreter(), [("uv", "started"), ("uv", "completed")])
    control, slot = Receiver(), Receiver()
    link = await road.open("control", control)
    link.send([*encode(Kind.PING), *encode(Kind.CONFIGURE, head={"slots": 2}), *encode(Kind.RECALL, head=(1, 7))])
    other = await road.open("slot-1", slot)
    other.send(encode(Kind.TASK, 9, buffers=[b"x" * 70_000, b"y"], raw_head=TASK.pack(1, 0, 0, False, b"digest")))
    await asyncio.sleep(0)
    assert [frame.kind for frame in control.frames] == [
        Kind.WELCOME,
        Kind.PONG,
        Kind.SLOT_UP,
        Kind.SLOT_UP,
        Kind.RECALLED,
    ]
    assert head_of(control.frames[-1]) == (1, 7, False)
    welcome, failure = slot.frames
    assert head_of(welcome)["generation"] == 1
    assert (failure.kind, failure.number, END.unpack(failure.head)[0]) == (Kind.FAILURE, 9, 1)
    other.close()
    cloud.clock.advance(9999)
    await asyncio.sleep(0)
    assert head_of(control.frames[-1]) == ("deadline",)
    assert (len(control.lost), len(slot.lost)) == (1, 0), "whoever has closed a link hears nothing more of it"
    with pytest.raises(NodeLost, match="i-0 has ended: deadline"):
        await road.open("control", Receiver())
    await road.close()


@virtually
async def test_a_newer_connection_takes_the_place_of_the_older_one_and_a_closed_road_is_silent() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    (instance,) = await buy(session)
    road = session.transport(instance, NO_WIRE)
    older, newer, hung_up = Receiver(), Receiver(), Receiver()
    await road.open("control", older)
    await road.open("control", newer)
    link = await road.open("slot-0", hung_up)
    link.send(encode(Kind.PING))
    link.close()
    await asyncio.sleep(0)
    assert (len(older.lost), len(newer.lost)) == (1, 0)
    await road.close()
    cloud.lose("i-0")
    await asyncio.sleep(0)
    assert newer.lost == []
    assert (hung_up.frames, hung_up.lost) == ([], []), "what was under way when it was closed is not heard either"
    assert cloud.open_roads == set()
