"""The display ``spinner``: what a person sees on a terminal, and what becomes of it elsewhere."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from skyward._display import make_display
from skyward._display.board import Board
from skyward._display.plain import PlainDisplay
from skyward._display.screen import Screen
from skyward._display.spinner import SpinnerDisplay
from skyward.model import events as ev

_TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\x1b|[^\x1b]")


class Terminal(io.StringIO):
    """A terminal of 80 columns that understands what rich sends; anything else fails."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        self.row = self.column = 0
        self._cursor = True
        self.wraps = False

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation

    def write(self, text: str, /) -> int:
        for found in _TOKEN.finditer(text):
            self._take(found)
        return len(text)

    def _take(self, found: re.Match[str]) -> None:
        private, number, kind = found.groups()
        match kind:
            case None if found[0] == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            case None if found[0] == "\r":
                self.column = 0
            case None:
                assert found[0] != "\x1b"
                if self.column == 80:
                    assert self.wraps, "a line of the live area wraps"
                    self.row, self.column = self.row + 1, 0
                    self.lines += [""] * (self.row + 1 - len(self.lines))
                old = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = old[: self.column] + found[0] + old[self.column + 1 :]
                self.column += 1
            case "m":
                pass
            case "A":
                self.row -= int(number or 1)
                assert self.row >= 0
            case "K":
                assert number == "2"
                self.lines[self.row] = ""
            case "h" | "l":
                assert (private, number) == ("?", "25")
                self._cursor = kind == "h"
            case _:
                pytest.fail(f"unexpected {found[0]!r}")

    def has_cursor(self) -> bool:
        return self._cursor

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines]

    @property
    def text(self) -> str:
        return "\n".join(self.shown)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


type Attach = Callable[[], Terminal]
type Live = Callable[[], tuple[Terminal, SpinnerDisplay]]


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attach]:
    """Makes a terminal of stdout and stderr, as in an interactive program. Called in the test: pytest sets them too."""

    def do() -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    yield do
    for screen in list(Screen._screens.values()):
        screen.end()


@pytest.fixture
def live(attach: Attach) -> Live:
    """Makes a terminal and starts a spinner on it that draws when told to."""

    def do() -> tuple[Terminal, SpinnerDisplay]:
        terminal = attach()
        display = SpinnerDisplay(clock=Clock(), period=None)
        display.start()
        return terminal, display

    return do


def done(task: int, node: int = 0, *, succeeded: bool = True) -> ev.TaskCompleted:
    return ev.TaskCompleted(task, "f", node, 0, f"i-{node}", 0.5, succeeded, None if succeeded else "ValueError: no")


def begin(display: SpinnerDisplay, nodes: int = 2) -> None:
    for node in range(nodes):
        display.callback(ev.InstanceLaunched(f"i-{node}", node, "local"))
        display.callback(ev.NodeReady(node, f"i-{node}"))
    display.callback(ev.ClusterReady(nodes))


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


def test_what_the_program_prints_stays_whole(live: Live) -> None:
    terminal, spinner = live()
    begin(spinner, 1)
    spinner.tick()
    print("one\ntwo", end="")
    spinner.tick()
    assert "two" in terminal.shown[-3:][0]
    print(" and more")
    print("x" * 200)
    sys.stderr.write("from stderr\n")
    assert "and more" not in terminal.text
    terminal.wraps = True
    spinner.stop()
    assert [line for line in terminal.shown if line] == [
        "one",
        "two and more",
        "x" * 80,
        "x" * 80,
        "x" * 40,
        "from stderr",
        "1 node, 0 tasks done, 0ms",
    ]


def test_an_unfinished_line_comes_out_at_the_end(live: Live) -> None:
    terminal, spinner = live()
    print("no line end", end="", flush=True)
    spinner.stop()
    assert "no line end" in terminal.shown


def test_a_progress_bar_of_the_program_stays_one_line(live: Live) -> None:
    terminal, spinner = live()
    for percent in (10, 50, 100):
        sys.stderr.write(f"\r{percent}%")
        spinner.tick()
        assert [line for line in terminal.shown if "%" in line] == [f"{percent}%"]
    sys.stderr.write("\rabc\rall\rdone\r\n")
    spinner.stop()
    assert "done" in terminal.shown
    assert "%" not in terminal.text


def test_logging_of_the_program_is_put_above_too(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach()
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    display = SpinnerDisplay(period=None)
    display.start()
    begin(display, 1)
    display.tick()
    logging.getLogger("mine").warning("careful")
    display.tick()
    assert next(line for line in terminal.shown if line) == "careful"
    display.stop()
    assert handler.stream is terminal


def test_output_that_goes_to_a_file_gets_there(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach()
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    display = SpinnerDisplay(period=None)
    display.start()
    print("result")
    display.stop()
    assert file.getvalue() == "result\n"
    assert "result" not in terminal.text


def test_streams_that_the_program_has_changed_meanwhile_are_left(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, spinner = live()
    kept = sys.stdout
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    spinner.stop()
    assert sys.stdout is other
    print("late", file=kept)
    assert "late" in terminal.shown


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_writes_straight_through(live: Live) -> None:
    terminal, _ = live()
    child = os.fork()
    if child == 0:
        print("from the child")
        os._exit(0 if "from the child" in terminal.shown else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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
