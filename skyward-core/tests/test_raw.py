"""What a slot writes past Python is forwarded before the result of its task."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.worker import raw
from skyward.worker.page import Page
from skyward.worker.raw import FLUSH, Output, RawEnd


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[Output, int]]:
    read, write = os.pipe()
    output = Output(read, "stderr")
    yield output, write
    output.close()
    os.close(write)


def test_lines_come_as_they_are_complete(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    assert output.read() == ([], True, 0)
    os.write(write, b"one\ntw")
    assert output.read() == (["one"], True, 6)
    assert output.pending
    os.write(write, b"o\n")
    assert output.read() == (["two"], True, 2)
    assert not output.pending


def test_the_end_gives_out_an_unfinished_line() -> None:
    read, write = os.pipe()
    output = Output(read, "stdout")
    os.write(write, b"unfinished")
    os.close(write)
    assert output.read() == ([], True, 10)
    assert output.read() == (["unfinished"], False, 0)
    output.close()


def test_the_rest_is_what_is_there_whole_or_not(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    os.write(write, b"one\ntwo\nthr")
    assert output.rest() == ["one", "two", "thr"]
    assert output.rest() == []


def test_a_process_that_writes_on_and_on_does_not_keep_the_rest_from_ending(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    over = threading.Event()

    def write_on() -> None:
        os.set_blocking(write, False)
        while not over.is_set():
            try:
                os.write(write, b"y\n" * 1000)
            except BlockingIOError:
                continue

    thread = threading.Thread(target=write_on)
    thread.start()
    assert len(output.rest()) <= raw._REST
    over.set()
    thread.join()


def test_without_raw_output_nobody_is_asked(page: Page, pipe: tuple[Output, int]) -> None:
    RawEnd(page, -1, [pipe[0].descriptor]).settle()
    assert not page.flush


@pytest.mark.parametrize("where", ["in the pipe", "with the supervisor"])
def test_the_slot_waits_until_its_output_is_forwarded(page: Page, pipe: tuple[Output, int], where: str) -> None:
    output, write = pipe
    asked: list[list[str]] = []

    def forward(_number: int, _frame: object) -> None:
        asked.append(output.rest())
        page.raw = page.flush = False

    os.write(write, b"line\nunfinished")
    if where == "with the supervisor":
        page.raw = True
        output.read()
    before = signal.signal(FLUSH, forward)
    try:
        RawEnd(page, os.getpid(), [output.descriptor]).settle()
    finally:
        signal.signal(FLUSH, before)
    assert asked == [["line", "unfinished"] if where == "in the pipe" else ["unfinished"]]
    assert not page.flush


def test_output_that_the_supervisor_takes_at_the_last_moment_is_waited_for_too(
    page: Page, pipe: tuple[Output, int]
) -> None:
    class Look:
        """Empty pipes, because the supervisor has taken what was in them: just now."""

        def poll(self, _: int) -> list[tuple[int, int]]:
            page.raw = True
            return []

    end = RawEnd(page, os.getpid(), [pipe[0].descriptor])
    end._poll = Look()  # type: ignore[assignment]
    asked: list[bool] = []

    def forward(_number: int, _frame: object) -> None:
        asked.append(page.flush)
        page.raw = page.flush = False

    before = signal.signal(FLUSH, forward)
    try:
        end.settle()
    finally:
        signal.signal(FLUSH, before)
    assert asked == [True]


def test_a_supervisor_that_is_held_up_is_not_waited_for_long(
    page: Page, pipe: tuple[Output, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "_PATIENCE", 0.001)
    before = signal.signal(FLUSH, signal.SIG_IGN)
    try:
        os.write(pipe[1], b"line\n")
        RawEnd(page, os.getpid(), [pipe[0].descriptor]).settle()
    finally:
        signal.signal(FLUSH, before)
    assert page.flush, "the supervisor will see to it when it can"
