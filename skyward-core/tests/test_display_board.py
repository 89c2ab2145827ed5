"""What the display ``spinner`` knows of a pool, and the lines that it writes where there is no terminal."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from terminal_fakes import Attach, Clock, done

from skyward._display import make_display
from skyward._display.board import Board
from skyward._display.plain import PlainDisplay
from skyward._display.spinner import SpinnerDisplay
from skyward.model import events as ev


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(attach: Attach, monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    attach()
    assert isinstance(make_display("spinner"), SpinnerDisplay)
    monkeypatch.setenv("TERM", term)
    assert isinstance(make_display("spinner"), PlainDisplay)


def test_a_notebook_gets_plain_lines(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    attach()

    class ZMQInteractiveShell: ...

    class Derived(ZMQInteractiveShell): ...

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Derived))
    assert isinstance(make_display("spinner"), PlainDisplay)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert isinstance(make_display("spinner"), SpinnerDisplay)


def test_without_a_terminal_there_are_plain_lines_and_a_summary() -> None:
    stream = io.StringIO()
    clock = Clock()
    display = PlainDisplay(stream, clock)
    assert isinstance(make_display("spinner", stream=stream), PlainDisplay)
    display.start()
    display.callback(ev.NodeReady(0, "i-0"))
    for task in range(5):
        display.callback(done(task))
    clock.now = 2.0
    display.callback(done(5))
    display.callback(done(6, succeeded=False))
    display.callback(ev.CostFinal(0.0, 2, 0.0, 0, 1, 0.0))
    display.stop()
    display.stop()
    assert stream.getvalue().splitlines() == [
        "[NodeReady] Node 0 ready",
        "[TaskCompleted] Task completed in 0.5s",
        "[TaskCompleted] 5 tasks completed",
        "[TaskCompleted] Task 6 (f) failed on node 0 after 0.5s: ValueError: no",
        "1 node, 6 tasks done, 1 failed, 2.0s",
    ]
    assert ev.Metrics not in display.types


def test_the_board_follows_a_node_through_its_life() -> None:
    board = Board(Clock())
    states = []
    for event in (
        ev.InstanceLaunched("i", 0, "local"),
        ev.InstanceRunning("i", 0),
        ev.InstanceProvisioned("i", 0, False, "local"),
        ev.BootstrapStarting("i"),
        ev.BootstrapPhase("i", "deps"),
        ev.BootstrapPhase("i", "deps", "completed", 1.0),
        ev.InstanceBootstrapped("i"),
        ev.NodeReady(0, "i"),
        ev.InstancePreempted("i", 0, "spot"),
        ev.NodeReplaced(0, "i", "j"),
        ev.NodeReady(0, "j"),
        ev.InstanceStopping("j"),
        ev.InstanceStopping("unknown"),
    ):
        board.feed(event)
        (row,) = board.rows()
        states.append(row.state)
    assert states == [
        "launching",
        "running",
        "connected",
        "bootstrap",
        "bootstrap: deps",
        "bootstrap: deps",
        "bootstrapped",
        "ready",
        "lost",
        "replaced",
        "ready",
        "stopping",
        "stopping",
    ]


def test_a_task_that_runs_again_elsewhere_is_counted_once() -> None:
    board = Board(Clock())
    board.feed(ev.TaskStarted(0, "f", 0, 0, "i-0"))
    board.feed(ev.TaskStarted(0, "f", 1, 0, "i-1"))
    assert [row.running for row in board.rows()] == [0, 1]
    board.feed(done(0, 1))
    assert [row.running for row in board.rows()] == [0, 0]
    assert board.summary() == "2 nodes, 1 task done, 0ms"


def test_a_pool_whose_bill_never_came_shows_what_it_last_knew() -> None:
    board = Board(Clock())
    board.feed(ev.CostUpdate(1, 2.5, 1.0, 0, 1))
    assert board.summary() == "0 nodes, 0 tasks done, 0ms, $2.50"
