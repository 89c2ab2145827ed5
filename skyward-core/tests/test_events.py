"""Events arrive in order, whatever the callbacks do."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward import _events
from skyward._events import EventBus
from skyward.errors import ConfigurationError
from skyward.model import events as ev
from skyward.model.events import EVENTS, Error, LogLine, NodeReady, PoolStopping, SkywardEvent

LONG = 30.0  # a bound that only a broken bus reaches


@pytest.fixture
def bus() -> Iterator[EventBus]:
    bus = EventBus()
    yield bus
    bus.close()


def ready(node: int) -> NodeReady:
    return NodeReady(node, f"i-{node}")


def begun_since(before: list[threading.Thread]) -> list[threading.Thread]:
    """Threads that were not there before; one of an earlier test may end at any time."""
    return [thread for thread in threading.enumerate() if thread not in before]


class Gate:
    """A callback that holds the bus's thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, event: SkywardEvent) -> None:
        self.entered.set()
        assert self.open.wait(LONG)


def test_the_union_holds_every_event_class_of_the_module() -> None:
    classes = {value for value in vars(ev).values() if isinstance(value, type) and value.__module__ == ev.__name__}
    assert classes == set(EVENTS) == set(get_args(SkywardEvent))
    assert {name for name in ev.__all__ if isinstance(getattr(ev, name), type)} >= {kind.__name__ for kind in EVENTS}


def test_older_names_are_the_same_classes() -> None:
    assert ev.InfraCreated is ev.ClusterProvisioned
    assert ev.BootstrapProgress is ev.BootstrapPhase
    assert ev.BootstrapCompleted is ev.InstanceBootstrapped
    assert ev.BootstrapPhase("i-0", "deps").phase == "deps"


def test_an_event_is_an_instance_of_the_union_and_survives_pickling() -> None:
    event = LogLine(0, "i-0", "text", 1.0)
    assert isinstance(event, SkywardEvent)
    assert pickle.loads(pickle.dumps(event)) == event
    with pytest.raises(AttributeError):
        event.line = "other"  # type: ignore[misc]


def test_events_import_nothing_heavier_than_attrs() -> None:
    code = (
        "import sys, attrs; before = set(sys.modules); import skyward.model.events;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('skyward')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.lists(st.integers(0, 5), max_size=50))
def test_every_subscriber_gets_its_events_in_the_order_of_emission(nodes: list[int]) -> None:
    bus = EventBus()
    everything: list[SkywardEvent] = []
    errors: list[SkywardEvent] = []
    bus.subscribe(everything.append)
    bus.subscribe(errors.append, (Error,))
    sent = [ready(node) if node else Error("zero") for node in nodes]
    for event in sent:
        bus.emit(event)
    bus.close()
    assert everything == sent
    assert errors == [event for event in sent if isinstance(event, Error)]


def test_a_bus_wants_only_what_somebody_listens_to(bus: EventBus) -> None:
    assert not bus.wants(LogLine)
    leave = bus.subscribe(lambda event: None, (LogLine,))
    assert bus.wants(LogLine)
    assert not bus.wants(Error)
    leave()
    leave()
    assert not bus.wants(LogLine)


def test_without_a_listener_no_thread_is_started(bus: EventBus) -> None:
    before = threading.enumerate()
    bus.subscribe(lambda event: None, (Error,))
    bus.emit(PoolStopping())
    assert not begun_since(before)


def test_callbacks_run_on_a_daemon_thread_of_the_bus(bus: EventBus) -> None:
    threads: list[threading.Thread] = []
    bus.subscribe(lambda event: threads.append(threading.current_thread()))
    bus.emit(PoolStopping())
    assert bus.settle(LONG)
    assert [(thread.name, thread.daemon) for thread in threads] == [("skyward-events", True)]


def test_events_of_many_threads_all_arrive_each_thread_in_its_order(bus: EventBus) -> None:
    seen: list[SkywardEvent] = []
    bus.subscribe(seen.append)

    def send(index: int) -> None:
        for number in range(200):
            bus.emit(LogLine(index, "i", str(number), 0.0))

    threads = [threading.Thread(target=send, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bus.close()
    for index in range(4):
        lines = [event.line for event in seen if isinstance(event, LogLine) and event.node == index]
        assert lines == [str(number) for number in range(200)]


def test_a_callback_that_raises_is_logged_once_and_harms_no_other(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[SkywardEvent] = []

    def faulty(event: SkywardEvent) -> None:
        raise KeyError("broken here")

    bus.subscribe(faulty)
    bus.subscribe(seen.append)
    for node in range(3):
        bus.emit(ready(node))
    bus.close()
    assert len(seen) == 3
    first, last = (record for record in caplog.records if record.name == "skyward")
    assert "faulty" in first.getMessage()
    assert "NodeReady" in first.getMessage()
    assert first.exc_info is not None
    assert "broken here" in str(first.exc_info[1])
    assert "faulty raised 2 more times" in last.getMessage()


def test_a_callback_that_exits_the_interpreter_ends_neither_it_nor_the_bus(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[SkywardEvent] = []

    def leaving(event: SkywardEvent) -> None:
        sys.exit(3)

    bus.subscribe(leaving)
    bus.subscribe(seen.append)
    bus.emit(PoolStopping())
    bus.close()
    assert seen == [PoolStopping()]
    assert "leaving" in caplog.text


def test_settle_waits_for_what_was_emitted_before_it(bus: EventBus) -> None:
    seen: list[SkywardEvent] = []
    bus.subscribe(seen.append)
    for node in range(100):
        bus.emit(ready(node))
        assert bus.settle(LONG)
        assert len(seen) == node + 1


def test_settle_gives_up_on_a_callback_that_hangs(bus: EventBus) -> None:
    gate = Gate()
    bus.subscribe(gate)
    bus.emit(PoolStopping())
    assert not bus.settle(timeout=0.0)
    gate.open.set()
    assert bus.settle(LONG)


def test_settle_from_a_callback_returns_at_once(bus: EventBus) -> None:
    answers: list[bool] = []
    bus.subscribe(lambda event: answers.append(bus.settle(LONG)))
    bus.emit(PoolStopping())
    bus.close()
    assert answers == [False]


def test_settle_on_a_bus_that_nobody_used_is_done() -> None:
    assert EventBus().settle(LONG)


def test_a_callback_may_emit_and_subscribe(bus: EventBus) -> None:
    late: list[SkywardEvent] = []

    def chain(event: SkywardEvent) -> None:
        bus.subscribe(late.append, (Error,))
        bus.emit(Error("from a callback"))

    bus.subscribe(chain, (PoolStopping,))
    bus.emit(PoolStopping())
    assert bus.settle(LONG)
    assert bus.settle(LONG)
    assert late == [Error("from a callback")]


def test_close_delivers_what_is_queued_and_ends_the_thread(bus: EventBus) -> None:
    before = threading.enumerate()
    seen: list[SkywardEvent] = []
    gate = Gate()
    bus.subscribe(gate)
    bus.subscribe(seen.append)
    for node in range(10):
        bus.emit(ready(node))
    assert gate.entered.wait(LONG)
    gate.open.set()
    bus.close(LONG)
    assert len(seen) == 10
    assert not begun_since(before)


def test_a_closed_bus_is_silent_and_closes_again() -> None:
    bus = EventBus()
    seen: list[SkywardEvent] = []
    bus.subscribe(seen.append)
    bus.close()
    bus.close()
    assert not bus.wants(PoolStopping)
    bus.emit(PoolStopping())
    assert bus.settle(LONG)
    assert seen == []


def test_closing_from_a_callback_does_not_lock_up_and_still_delivers(bus: EventBus) -> None:
    seen: list[SkywardEvent] = []
    gate = Gate()

    def leave(event: SkywardEvent) -> None:
        gate(event)
        if event == ready(0):
            bus.close()
            bus.emit(ready(99))

    bus.subscribe(leave)
    bus.subscribe(seen.append)
    bus.emit(ready(0))
    bus.emit(ready(1))
    gate.open.set()
    bus.close(LONG)
    assert seen == [ready(0), ready(1)]


def test_close_names_the_callback_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    gate = Gate()
    bus.subscribe(gate)
    bus.emit(PoolStopping())
    assert gate.entered.wait(LONG)
    bus.close(timeout=0.0)
    gate.open.set()
    bus.close(LONG)
    assert "Gate" in caplog.text
    assert "has not returned" in caplog.text


def test_beyond_the_backlog_log_lines_are_dropped_and_counted_but_nothing_else(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_events, "BACKLOG", 10)
    seen: list[SkywardEvent] = []
    gate = Gate()
    bus.subscribe(gate)
    bus.subscribe(seen.append)
    bus.emit(PoolStopping())
    assert gate.entered.wait(LONG)
    for number in range(25):
        bus.emit(LogLine(0, "i", str(number), 0.0))
    bus.emit(ready(1))
    gate.open.set()
    bus.close(LONG)
    assert len(seen) == 1 + 10 + 1
    assert seen[-1] == ready(1)
    assert "15 log lines and metrics were dropped" in caplog.text


@pytest.mark.parametrize("wrong", [int, "LogLine", LogLine(0, "i", "", 0.0)])
def test_subscribing_to_what_is_not_an_event_class_is_refused(bus: EventBus, wrong: type) -> None:
    with pytest.raises(ConfigurationError, match="is not an event class"):
        bus.subscribe(lambda event: None, (wrong,))


def test_a_near_miss_of_an_event_class_is_named(bus: EventBus) -> None:
    class LogLines: ...

    with pytest.raises(ConfigurationError, match="did you mean LogLine"):
        bus.subscribe(lambda event: None, (LogLines,))


def test_a_callback_that_a_thread_cannot_call_is_refused(bus: EventBus) -> None:
    async def coroutine(event: SkywardEvent) -> None: ...

    class Asynchronous:
        async def __call__(self, event: SkywardEvent) -> None: ...

    for wrong in (coroutine, Asynchronous()):
        with pytest.raises(ConfigurationError, match="give a plain function"):
            bus.subscribe(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="must be callable"):
        bus.subscribe(None)  # type: ignore[arg-type]


def test_where_no_thread_can_be_started_any_more_events_are_delivered_at_once(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen: list[SkywardEvent] = []
    bus.subscribe(seen.append)
    bus.emit(PoolStopping())
    assert seen == [PoolStopping()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_a_forked_child_the_bus_is_silent_and_ends_at_once(bus: EventBus) -> None:
    seen: list[SkywardEvent] = []
    bus.subscribe(seen.append)
    bus.emit(PoolStopping())
    assert bus.settle(LONG)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            bus.emit(PoolStopping())
            silent = bus.settle(LONG) and not bus.wants(PoolStopping) and seen == [PoolStopping()]
            bus.close()
            own = EventBus()
            own.subscribe(seen.append)
            own.emit(ready(1))
            own.close(LONG)
            status = 0 if silent and seen[1:] == [ready(1)] else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    bus.emit(ready(2))
    assert bus.settle(LONG)
    assert seen == [PoolStopping(), ready(2)]


def test_at_the_end_of_the_program_what_is_queued_is_still_delivered() -> None:
    code = (
        "from skyward._events import EventBus\n"
        "from skyward.model.events import PoolStopping\n"
        "bus = EventBus()\n"
        "bus.subscribe(lambda event: print(event))\n"
        "for _ in range(100): bus.emit(PoolStopping())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "PoolStopping()\n" * 100
    assert done.stderr == ""


def test_a_closed_bus_leaves_no_handle_behind() -> None:
    before = threading.enumerate()
    for _ in range(50):
        bus = EventBus()
        bus.subscribe(lambda event: None)
        bus.emit(PoolStopping())
        bus.close(LONG)
        assert bus not in _events._running
    assert not begun_since(before)
