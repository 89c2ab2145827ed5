"""The display ``spinner`` beside a program that writes to the same terminal."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest
from terminal_fakes import Attach, Live, begin

from skyward._display.spinner import SpinnerDisplay


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_writes_straight_through(live: Live) -> None:
    terminal, _ = live()
    child = os.fork()
    if child == 0:
        print("from the child")
        os._exit(0 if "from the child" in terminal.shown else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
