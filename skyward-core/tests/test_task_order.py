"""The order of a task's events, against a slot that answers as fast as one can: before `send` has returned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import skyward as sky
from skyward._dispatcher import Dispatcher
from skyward._events import EventBus


class EagerSlot:
    """A slot whose first line of output is here as soon as a task is written to the socket."""

    key = (0, 0)

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def send(self, task: Any, *, ahead: bool) -> None:
        self._dispatcher.logged(0, task.number, ("hello", "stdout", 0.0, 0, 1))


def test_a_task_is_told_to_have_started_before_its_first_line_however_fast_the_slot_is() -> None:
    seen: list[type] = []
    events = EventBus()
    events.subscribe(lambda event: seen.append(type(event)))
    dispatcher = Dispatcher(events, SimpleNamespace())  # type: ignore[arg-type]
    slot: Any = EagerSlot(dispatcher)
    dispatcher.nodes[0] = SimpleNamespace(  # type: ignore[assignment]
        slots=[slot], instance=SimpleNamespace(id="i-0"), slot_ready=lambda: None
    )
    with dispatcher.lock:
        dispatcher.slot_up(slot)
    task: Any = SimpleNamespace(number=1, node=None, name="speak", place=None, on_start=None, started=None)
    dispatcher.submit([task])
    events.close()
    assert seen == [sky.TaskStarted, sky.LogLine]
