"""What a task's events and its end are, whatever other threads do at the same moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import skyward as sky
from skyward._calls import Calls, Several
from skyward._dispatcher import Dispatcher
from skyward._events import EventBus
from skyward.worker.protocol import RAISED, Kind


class EagerSlot:
    """A slot whose first line of output is here as soon as a task is written to the socket."""

    key = (0, 0)

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def send(self, task: Any, *, ahead: bool) -> None:
        self.task = task
        self._dispatcher.logged(0, task.number, ("hello", "stdout", 0.0, 0, 1))

    def release(self, sequence: int) -> Any:
        return self.task

    def close(self) -> None:
        """Nothing to close."""


class QuietNode:
    """The node of that slot."""

    instance = SimpleNamespace(id="i-0")

    def __init__(self, slot: EagerSlot) -> None:
        self.slots = [slot]

    def slot_ready(self) -> None:
        """Nobody waits for it."""

    def close(self) -> None:
        """Nothing to close."""


def serving(events: EventBus) -> tuple[Dispatcher, Any]:
    """A dispatcher with one slot, which is up."""
    dispatcher = Dispatcher(events, SimpleNamespace())  # type: ignore[arg-type]
    slot: Any = EagerSlot(dispatcher)
    dispatcher.nodes[0] = QuietNode(slot)  # type: ignore[assignment]
    with dispatcher.lock:
        dispatcher.slot_up(slot)
    return dispatcher, slot


def test_a_task_is_told_to_have_started_before_its_first_line_however_fast_the_slot_is() -> None:
    seen: list[type] = []
    events = EventBus()
    events.subscribe(lambda event: seen.append(type(event)))
    dispatcher, _ = serving(events)
    task: Any = SimpleNamespace(number=1, node=None, name="speak", place=None, on_start=None, started=None)
    dispatcher.submit([task])
    events.close()
    assert seen == [sky.TaskStarted, sky.LogLine]


def test_a_task_whose_report_is_here_when_the_pool_is_closed_ends_once_and_as_it_was_reported() -> None:
    dispatcher, slot = serving(EventBus())
    ends: list[BaseException | None] = []
    task: Any = SimpleNamespace(
        number=1,
        node=None,
        name="fail",
        place=None,
        on_start=None,
        seconds=0.0,
        error=None,
        encoded=SimpleNamespace(digest=b"f"),
        on_done=lambda task: ends.append(task.error),
    )

    def fail(frame: object, how: int) -> None:
        task.error = ValueError("its own")
        dispatcher.close("the pool has ended")  # as another thread may at just this moment

    task.fail = fail
    dispatcher.submit([task])
    dispatcher.ended(slot, 1, SimpleNamespace(kind=Kind.FAILURE), 0.5, RAISED)  # type: ignore[arg-type]
    assert list(map(type, ends)) == [ValueError]


def test_an_interrupted_call_goes_on_once_the_last_words_of_its_task_are_delivered() -> None:
    done: list[str] = []
    engine: Any = SimpleNamespace(
        plugins=(),
        dispatcher=SimpleNamespace(cancel=lambda _: done.append("stopped")),
        events=SimpleNamespace(settle=lambda: done.append("delivered")),
    )
    ended: Any = SimpleNamespace(acquire=lambda timeout: done.append("ended"))
    running: Any = SimpleNamespace(done=False)
    Calls(engine)._abandon(Several([running]), ended)
    assert done == ["stopped", "ended", "delivered"]


class KeepingSlot(EagerSlot):
    """A slot that says nothing, and keeps what it is sent under the tasks' own numbers."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher)
        self.kept: dict[int, Any] = {}

    def send(self, task: Any, *, ahead: bool) -> None:
        self.kept[task.number] = task

    def release(self, sequence: int) -> Any:
        return self.kept.pop(sequence, None)

    def holds(self, sequence: int) -> Any:
        return self.kept.get(sequence)


@pytest.mark.parametrize("answer", ["given back", "begun", "ended"])
def test_a_task_that_is_asked_back_as_its_turn_comes_is_told_to_have_started_once(answer: str) -> None:
    seen: list[tuple[str, int]] = []
    events = EventBus()

    def note(event: Any) -> None:
        seen.append((type(event).__name__, event.task_id))

    events.subscribe(note)
    dispatcher = Dispatcher(events, SimpleNamespace())  # type: ignore[arg-type]
    slot: Any = KeepingSlot(dispatcher)
    dispatcher.nodes[0] = QuietNode(slot)  # type: ignore[assignment]
    with dispatcher.lock:
        dispatcher.slot_up(slot)

    def made(number: int) -> Any:
        named = SimpleNamespace(number=number, node=None, name="work", place=None, on_start=None, on_done=None)
        digest = SimpleNamespace(digest=b"f")
        return SimpleNamespace(**vars(named), seconds=0.0, error=None, started=0.0, encoded=digest, cancelled=False)

    def end(number: int) -> None:
        dispatcher.ended(slot, number, SimpleNamespace(kind=Kind.RESULT), 0.0, RAISED)  # type: ignore[arg-type]

    dispatcher.submit([made(0)])
    end(0)  # from now on the function is known to be brief
    dispatcher.submit([made(1)])
    dispatcher.submit([made(2)])
    assert sorted(slot.kept) == [1, 2]
    dispatcher._scheduler._asked_back.add(2)  # as when another slot is idle for a moment
    end(1)
    if answer != "ended":
        dispatcher.recalled(slot, 2, agreed=answer == "given back")
    end(2)
    if answer == "ended":
        dispatcher.recalled(slot, 2, agreed=False)
    events.close()
    assert seen[2:] == [("TaskStarted", 1), ("TaskCompleted", 1), ("TaskStarted", 2), ("TaskCompleted", 2)]


class DyingNode(QuietNode):
    """A node that is found to be lost when it is told to end."""

    def __init__(self, index: int, dispatcher: Dispatcher) -> None:
        super().__init__(EagerSlot(dispatcher))
        self.index = index
        self._dispatcher = dispatcher

    def close(self) -> None:
        self._dispatcher.node_lost(self, "its supervisor has ended")  # type: ignore[arg-type]


def test_nodes_that_are_found_to_be_lost_while_the_pool_ends_do_not_keep_it_from_ending() -> None:
    dispatcher = Dispatcher(EventBus(), SimpleNamespace())  # type: ignore[arg-type]
    for index in range(3):
        dispatcher.nodes[index] = DyingNode(index, dispatcher)  # type: ignore[assignment]
    dispatcher.close("the pool has ended")
    assert not dispatcher.nodes


def test_machines_are_ended_whatever_goes_wrong_with_the_tasks_of_a_pool_that_is_left(skyward_cloud: Any) -> None:
    pool = sky.ComputePool(skyward_cloud.provider, nodes=2, display="quiet")
    with pytest.raises(ZeroDivisionError), pool:
        engine: Any = pool._engine
        engine.dispatcher.close = lambda why: 1 / 0
    assert skyward_cloud.alive == []
