"""The word that a machine will be taken back: how it comes from there to its pool, and what the pool makes of it."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_fakes import simulated

import skyward as sky
from skyward.errors import PluginError
from skyward.model.events import SkywardEvent
from skyward.testing import FakeCloud
from skyward.testing._session import FakeSession
from skyward.worker.lookout import Lookout

pytestmark = pytest.mark.usefixtures("own_ledgers")

TAKEN = "the fake cloud takes its spot machine back"


class Seen:
    """The events of a pool, and a wait for them."""

    def __init__(self) -> None:
        self._events: list[SkywardEvent] = []
        self._came = threading.Condition()

    def __call__(self, event: SkywardEvent) -> None:
        with self._came:
            self._events.append(event)
            self._came.notify_all()

    def all[E: SkywardEvent](self, kind: type[E], count: int = 0) -> list[E]:
        """The events of a kind, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self._of(kind)) >= count, 60), f"there are {self._of(kind)}"
            return self._of(kind)

    def _of[E: SkywardEvent](self, kind: type[E]) -> list[E]:
        return [each for each in self._events if isinstance(each, kind)]

    def instance_of(self, task: str) -> str:
        """The machine on which a function was started last."""
        return [each.instance_id for each in self.all(sky.TaskStarted) if each.name == task][-1]


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


def pool(cloud: FakeCloud, **parameters: Any) -> sky.ComputePool:
    return sky.ComputePool(provider=cloud.provider, display="quiet", **parameters)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


class Gate:
    """Two pipes by which a task says that it has begun, and is told to end."""

    def __init__(self, folder: Path) -> None:
        self.paths = str(folder / "begun"), str(folder / "end")
        for path in self.paths:
            os.mkfifo(path)

    def begun(self) -> None:
        Path(self.paths[0]).read_text()

    def open(self) -> None:
        Path(self.paths[1]).write_text("end")


@sky.compute
def hold(gate: tuple[str, str] | None) -> str:
    if gate is not None:
        Path(gate[0]).write_text("begun")
        Path(gate[1]).read_text()
    return "held"


@sky.compute(retry=1)
def hold_again(gate: tuple[str, str]) -> str:
    folder = Path(gate[0]).parent
    if (folder / "once").exists():
        return "held again"
    (folder / "once").touch()
    Path(gate[0]).write_text("begun")
    return Path(gate[1]).read_text()


def test_an_idle_node_is_replaced_before_its_machine_is_gone(cloud: FakeCloud) -> None:
    seen = Seen()
    with pool(cloud, nodes=2, on_event=seen) as two:
        now = cloud.clock.time()
        cloud.preempt(1, notice=120)
        [preempted] = seen.all(sky.InstancePreempted, 1)
        assert (preempted.instance_id, preempted.node, preempted.reason) == ("i-1", 1, TAKEN)
        assert preempted.deadline == pytest.approx(now + 120, abs=60)
        [replaced] = seen.all(sky.NodeReplaced, 1)
        assert (replaced.node, replaced.old_instance_id, replaced.new_instance_id) == (1, "i-1", "i-2")
        assert hold(None) @ two == ("held", "held")
        cloud.clock.advance(120)
        assert cloud.machines[1].why == "terminated", "it was let go in time"
    assert len(seen.all(sky.InstancePreempted)) == 1


def test_a_task_that_runs_may_end_and_no_other_one_is_given_to_the_machine(cloud: FakeCloud, gate: Gate) -> None:
    seen = Seen()
    with pool(cloud, on_event=seen) as one:
        for _ in range(60):  # so that it is known as one that is worth sending ahead, slow as the first one may be
            hold(None) >> one
        running, behind = one.submit(hold(gate.paths)), one.submit(hold(None))
        gate.begun()
        scheduler: Any = one._engine.dispatcher._scheduler
        assert scheduler.any_ahead
        cloud.preempt(0, notice=120)
        seen.all(sky.InstancePreempted, 1)
        assert cloud.machines[0].alive
        while scheduler.any_ahead:  # until the slot has given back what it has not begun
            time.sleep(0.01)
        gate.open()
        assert running.result(60) == "held"
        assert behind.result(60) == "held"
        [replaced] = seen.all(sky.NodeReplaced, 1)
        assert replaced.old_instance_id == "i-0"
    assert seen.instance_of("hold") == "i-1"  # the last event of a result may come after it
    assert [each.instance_id for each in seen.all(sky.InstancePreempted)] == ["i-0"]
    assert all(each.instance_id for each in seen.all(sky.TaskCompleted))


def test_a_task_that_outlasts_the_machine_is_lost_with_the_reason_of_the_notice(cloud: FakeCloud, gate: Gate) -> None:
    seen = Seen()
    with pool(cloud, on_event=seen) as one:
        again = one.submit(hold_again(gate.paths))
        gate.begun()
        cloud.preempt(0, notice=120)
        seen.all(sky.InstancePreempted, 1)
        cloud.clock.advance(120)
        assert again.result(60) == "held again"
        task = one.submit(hold(gate.paths))
        gate.begun()
        cloud.preempt(0, notice=120)
        seen.all(sky.InstancePreempted, 2)
        cloud.clock.advance(120)
        with pytest.raises(sky.OutcomeUnknown, match=TAKEN):
            task.result(60)
        seen.all(sky.NodeReplaced, 2)
    assert [each.instance_id for each in seen.all(sky.InstancePreempted)] == ["i-0", "i-1"]


def test_a_notice_that_comes_while_the_node_is_made_ready_is_heeded_then() -> None:
    seen = Seen()
    with simulated() as cloud:
        cloud.script("bootstrap", lambda machine: cloud.preempt(machine, notice=120))
        with pool(cloud, on_event=seen):
            [replaced] = seen.all(sky.NodeReplaced, 1)
            assert (replaced.old_instance_id, replaced.new_instance_id) == ("i-0", "i-1")
    assert [each.reason for each in seen.all(sky.InstancePreempted)] == [TAKEN]


def lookouts(cloud: FakeCloud) -> list[object]:
    records = cloud._backend.records.values()
    return [None if each.configuration is None else each.configuration["lookout"] for each in records]


def test_only_spot_machines_look_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSession, "lookout", lambda _self, instance: f"# of {instance.id}")
    with simulated() as cloud, pool(cloud, nodes=2, allocation=0.5):
        markets = [record.offer.market for record in cloud._backend.records.values()]
        assert sorted(markets) == ["on-demand", "spot"]
        wanted = [f"# of i-{index}" if market == "spot" else None for index, market in enumerate(markets)]
        assert lookouts(cloud) == wanted


@pytest.mark.parametrize("answer", [42, ZeroDivisionError("oops")])
def test_a_session_whose_lookout_is_no_program_is_named(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    def lookout(_self: FakeSession, _instance: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(FakeSession, "lookout", lookout)
    with simulated() as cloud, pytest.raises(PluginError, match=r"Fake.* failed in lookout with .*(42|oops)"):
        pool(cloud).__enter__()
    assert cloud.alive == []


# the part on the node


class Watched:
    """A lookout with its own selector."""

    def __init__(self, folder: Path, program: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.told: list[tuple[str, float | None]] = []
        self.lookout = Lookout(self.selector, self.told.append)
        self.lookout.begin(program, str(folder))

    def start(self) -> None:
        """Start the program, whatever the time."""
        assert self.lookout.start_at is not None
        self.lookout.on_time(self.lookout.start_at)

    def until_it_ends(self) -> None:
        """Take what it prints, until it has ended."""
        while self.selector.get_map():
            ready = self.selector.select(60)
            assert ready
            for key, _ in ready:
                key.data()


def test_the_first_notice_counts_and_nonsense_does_not(tmp_path: Path) -> None:
    lines = ["nonsense", "[]", '{"reason": 5}', '{"seconds": 3}', '{"reason": "first", "seconds": 50}']
    program = f"import sys\nprint(*{[*lines, lines[-1].replace('first', 'second')]!r}, sep=chr(10))\n"
    watched = Watched(tmp_path, program + "assert 'site' not in sys.modules")
    watched.start()
    watched.until_it_ends()
    [(reason, seconds)] = watched.told
    assert reason == "first"
    assert seconds is not None
    assert 0 <= seconds <= 50
    assert watched.lookout.start_at is None, "all has been said"
    watched.lookout.tell_again()
    assert [reason for reason, _ in watched.told] == ["first", "first"]
    assert watched.told[1][1] is not None
    assert watched.told[1][1] <= seconds


@pytest.mark.parametrize("seconds", ["null", '"soon"', "NaN", "true"])
def test_a_notice_without_a_time_is_one(tmp_path: Path, seconds: str) -> None:
    line = f'{{"reason": "soon", "seconds": {seconds}}}'
    watched = Watched(tmp_path, f"print({line!r})")
    watched.start()
    watched.until_it_ends()
    assert watched.told == [("soon", None)]


def test_a_program_that_ends_without_a_word_is_started_again_ever_more_rarely(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "raise SystemExit(1)")
    pauses: list[float] = []
    for _ in range(3):
        watched.start()
        watched.until_it_ends()
        assert watched.lookout.start_at is not None
        pauses.append(watched.lookout.start_at - time.monotonic())
    assert pauses[0] < pauses[1] < pauses[2]
    assert watched.told == []


def test_where_no_program_can_be_started_the_node_goes_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "missing", "print()")
    watched.start()
    assert watched.lookout.start_at is not None
    assert not watched.selector.get_map()
