"""The display ``spinner``: what a person sees on a terminal, and how the terminal gets back what it was."""

from __future__ import annotations

import re
import sys
import threading

import pytest
from terminal_fakes import Attach, Clock, Live, begin, done

from skyward._display.board import Board
from skyward._display.screen import Screen
from skyward._display.spinner import SpinnerDisplay
from skyward.model import events as ev


def test_there_is_a_line_for_each_node_and_one_for_the_pool(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner)
    spinner.callback(ev.TaskStarted(0, "f", 0, 0, "i-0"))
    spinner.callback(done(1, 1))
    spinner.callback(ev.Metrics("i-1", 1, 42.0, 50.0, 2048.0, 4096.0, 80.0))
    spinner.callback(ev.CostUpdate(10, 0.5, 2.0, 0, 2))
    spinner.tick()
    first, second, pool = (line.split() for line in terminal.shown if line)
    assert first[1:] == ["node", "0", "ready", "1", "running,", "0", "done"]
    assert second == [
        "node",
        "1",
        "ready",
        "0",
        "running,",
        "1",
        "done",
        "cpu",
        "42%",
        "mem",
        "2.0/4.0",
        "GiB",
        "gpu",
        "80%",
    ]
    assert pool == ["ready,", "1", "task", "done,", "1", "running,", "0ms,", "$0.5000", "at", "$2.00", "an", "hour"]


def test_it_ends_with_one_line_and_the_cursor_and_streams_back(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner)
    spinner.tick()
    assert not terminal.has_cursor()
    assert sys.stdout is not terminal
    spinner.callback(done(0))
    spinner.callback(ev.CostFinal(1.5, 3600, 1.5, 2, 0, 2.0))
    spinner.stop()
    spinner.stop()
    spinner.callback(done(1))
    assert [line for line in terminal.shown if line] == ["2 nodes, 1 task done, 0ms, $1.50, $2.00 less than on demand"]
    assert terminal.has_cursor()
    assert sys.stdout is sys.stderr is terminal
    print("after", end="")
    assert terminal.shown[terminal.row] == "after"


def test_what_nodes_write_scrolls_by_above_without_steering_the_terminal(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner, 1)
    for number in range(3):
        spinner.callback(ev.LogLine(0, "i-0", f"\x1b[31mline {number}\x1b[2J", 0.0))
        spinner.tick()
    spinner.callback(done(0, succeeded=False))
    spinner.callback(ev.Error("odd"))
    spinner.tick()
    shown = [line for line in terminal.shown if line]
    assert shown[:3] == [f"node 0: line {number}" for number in range(3)]
    assert shown[3] == "[TaskCompleted] Task 0 (f) failed on node 0 after 0.5s: ValueError: no"
    assert shown[4] == "[Error] odd"
    assert len(shown) == 5 + 2


def test_thousands_of_tasks_are_counted_right_and_drawn_once(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner)
    before = len(terminal.lines)

    def work(node: int) -> None:
        for task in range(2000):
            number = task * 2 + node
            spinner.callback(ev.TaskStarted(number, "f", node, 0, f"i-{node}"))
            spinner.callback(done(number, node))

    threads = [threading.Thread(target=work, args=(node,)) for node in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(terminal.lines) == before
    spinner.tick()
    assert "4000 tasks done" in terminal.text
    assert terminal.text.count("0 running, 2000 done") == 2


def test_two_pools_share_the_terminal(live: Live) -> None:
    terminal, spinner = live()
    second = SpinnerDisplay(clock=Clock(), period=None)
    second.start()
    begin(spinner, 1)
    begin(second, 2)
    spinner.tick()
    assert terminal.text.count("node 0") == 2
    spinner.stop()
    assert not terminal.has_cursor()
    second.stop()
    assert terminal.has_cursor()
    assert [line for line in terminal.shown if line] == ["1 node, 0 tasks done, 0ms", "2 nodes, 0 tasks done, 0ms"]
    assert Screen._screens == {}


def test_more_nodes_than_the_terminal_has_lines_are_summed_up(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner, 100)
    spinner.tick()
    spinner.tick()
    shown = [line for line in terminal.shown if line]
    assert len(shown) < 24
    assert re.search(r"and \d\d nodes more", terminal.text)


def test_a_terminal_that_breaks_ends_the_drawing_and_not_the_program(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, spinner = live()

    def broken(text: str, /) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(terminal, "write", broken)
    begin(spinner)
    spinner.tick()
    assert sys.stdout is terminal
    spinner.callback(ev.LogLine(0, "i-0", "x", 0.0))
    spinner.stop()


def test_ctrl_c_while_it_ends_still_gives_the_cursor_back(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, spinner = live()

    def interrupted(self: Screen) -> None:
        raise KeyboardInterrupt

    spinner.tick()
    assert not terminal.has_cursor()
    monkeypatch.setattr(Screen, "_draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spinner.stop()
    assert terminal.has_cursor()
    assert sys.stdout is terminal


def test_a_pool_that_ends_after_its_screen_still_leaves_its_line(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner, 1)
    for screen in list(Screen._screens.values()):
        screen.end()
    spinner.callback(ev.LogLine(0, "i-0", "late", 0.0))
    spinner.stop()
    assert [line for line in terminal.shown if line] == ["node 0: late", "1 node, 0 tasks done, 0ms"]


def test_its_own_thread_draws_without_being_told(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach()
    display = SpinnerDisplay(period=0.001)
    drawn = threading.Event()

    def status(self: Board) -> str:
        drawn.set()
        return "drawn"

    monkeypatch.setattr(Board, "status", status)
    display.start()
    assert drawn.wait(30)
    display.stop()
    assert terminal.has_cursor()
