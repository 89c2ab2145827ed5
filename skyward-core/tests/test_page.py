"""The page that a slot and its supervisor share: each task runs on the slot, or is taken back, and never both."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyward.worker import page as page_module
from skyward.worker.page import Page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(str(tmp_path))
    yield made
    made.close()


def test_a_new_page_says_that_nothing_runs_or_ran(page: Page) -> None:
    assert (page.started, page.running, page.task, page.cancelled, page.recalled) == (0, 0, 0, 0, [])
    assert not page.raw
    assert not page.flush


def test_it_leaves_no_file(tmp_path: Path) -> None:
    page = Page(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    page.close()


def test_without_nameless_memory_it_leaves_no_file_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    page = Page(str(tmp_path))
    assert page.start(1, 10, ahead=True)
    assert list(tmp_path.iterdir()) == []
    page.close()


def test_what_runs_is_known_until_it_ends(page: Page) -> None:
    assert page.start(1, 71, ahead=False)
    assert (page.started, page.running, page.task) == (1, 1, 71)
    page.finish()
    assert (page.started, page.running, page.task) == (1, 0, 71)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_task_that_arrives_a_second_time_does_not_run_again(page: Page, ahead: bool) -> None:
    assert page.start(1, 71, ahead=False)
    page.finish()
    assert not page.start(1, 71, ahead=ahead)
    assert page.running == 0


def test_a_task_that_was_taken_back_does_not_run_however_often_it_arrives(page: Page) -> None:
    page.start(1, 71, ahead=False)
    assert page.recall(2)
    assert not page.start(2, 72, ahead=True)
    assert not page.start(2, 72, ahead=True)
    assert page.recalled == [2]


def test_a_task_that_has_begun_is_not_taken_back(page: Page) -> None:
    page.start(1, 71, ahead=True)
    assert not page.recall(1)


def test_asked_again_it_gives_the_same_answer(page: Page) -> None:
    """The first answer may have been lost with its connection, and tasks behind may have run since."""
    page.start(1, 71, ahead=False)
    assert page.recall(2)
    page.start(3, 73, ahead=True)
    assert page.recall(2)
    assert not page.recall(3)


def test_taking_back_the_one_behind_does_not_keep_the_one_before_from_running(page: Page) -> None:
    page.start(1, 71, ahead=False)
    assert page.recall(3)
    assert page.start(2, 72, ahead=True)
    assert not page.start(3, 73, ahead=True)


def test_when_too_many_are_taken_back_at_once_the_next_one_stays(page: Page) -> None:
    page.start(1, 71, ahead=False)
    remembered = page_module._REMEMBERED
    for sequence in range(2, remembered + 2):
        assert page.recall(sequence)
    assert not page.recall(remembered + 2)
    assert page.start(remembered + 2, 5, ahead=True)
    assert page.recall(2 * remembered + 3)


def test_another_process_sees_the_same_page(page: Page) -> None:
    child = os.fork()
    if not child:
        page.cancel(7)
        os._exit(0)
    os.waitpid(child, 0)
    assert page.cancelled == 7


def test_starting_and_taking_back_exclude_each_other_between_processes(page: Page) -> None:
    count = 3000
    read, write = os.pipe()
    child = os.fork()
    if not child:
        taken = [sequence for sequence in range(1, count + 1) if page.recall(sequence)]
        os.write(write, b",".join(b"%d" % sequence for sequence in taken) + b"\n")
        os._exit(0)
    ran = [sequence for sequence in range(1, count + 1) if page.start(sequence, 1, ahead=True)]
    with os.fdopen(read, "rb") as answers:
        taken = [int(word) for word in answers.readline().split(b",") if word.strip()]
    os.close(write)
    os.waitpid(child, 0)
    assert sorted(ran + taken) == list(range(1, count + 1))


class Model(RuleBasedStateMachine):
    """Tasks come in order, some twice; some are taken back: each one runs or is taken back, and never both."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page("/tmp")
        self.sent = 0
        self.ran: set[int] = set()
        self.taken: set[int] = set()
        self.waiting: list[int] = []

    @rule(count=st.integers(1, 3))
    def send(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            self.waiting.append(self.sent)

    @rule()
    def receive(self) -> None:
        if self.waiting:
            sequence = self.waiting.pop(0)
            if self.page.start(sequence, sequence, ahead=True):
                assert sequence not in self.taken
                self.ran.add(sequence)
                self.page.finish()
            else:
                assert sequence in self.taken

    @rule(seed=st.integers())
    def take_back(self, seed: int) -> None:
        if self.sent:
            sequence = random.Random(seed).randint(max(1, self.sent - 5), self.sent)
            if self.page.recall(sequence):
                assert sequence not in self.ran
                self.taken.add(sequence)

    @rule()
    def send_again(self) -> None:
        """After a dropped connection: all that has not begun, in order."""
        self.waiting = [each for each in range(1, self.sent + 1) if each not in self.ran and each > self.page.started]

    @invariant()
    def never_both(self) -> None:
        assert not self.ran & self.taken

    def teardown(self) -> None:
        self.page.close()


TestModel = Model.TestCase


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=5))
def test_numbers_of_any_size_are_kept(numbers: list[int]) -> None:
    page = Page("/tmp")
    for number in numbers:
        page.cancel(number)
        assert page.cancelled == number
    page.close()
