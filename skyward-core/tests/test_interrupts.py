"""An interrupt strikes the task that was cancelled, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.worker.interrupts import Interrupts
from skyward.worker.page import Page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def interrupts(page: Page) -> Iterator[Interrupts]:
    before = signal.getsignal(signal.SIGINT)
    made = Interrupts(page)
    made.arm()
    yield made
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def begin(page: Page, interrupts: Interrupts, sequence: int) -> None:
    page.start(sequence, sequence, ahead=False)
    interrupts.open(sequence)


def test_the_cancelled_task_is_interrupted(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    interrupts.shut()
    assert interrupts.is_cancelled(1)


def test_it_is_interrupted_once(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    interrupt()
    interrupts.shut()


def test_a_signal_without_a_cancellation_does_nothing(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    interrupt()
    interrupts.shut()


def test_the_interrupt_of_another_task_does_nothing(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 2)
    page.cancel(1)
    interrupt()
    interrupts.shut()


def test_between_tasks_nothing_is_interrupted(page: Page, interrupts: Interrupts) -> None:
    page.cancel(1)
    interrupt()
    page.start(1, 1, ahead=False)
    interrupt()


def test_an_interrupt_that_came_before_the_function_strikes_at_its_beginning(
    page: Page, interrupts: Interrupts
) -> None:
    page.start(1, 1, ahead=False)
    page.cancel(1)
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupts.open(1)
    interrupt()
    interrupts.shut()


def test_one_that_came_after_the_function_does_not_strike_the_next_task(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    interrupts.shut()
    page.cancel(1)
    interrupt()
    page.finish()
    begin(page, interrupts, 2)
    with interrupts:
        pass
    interrupts.shut()


def test_while_a_frame_is_written_it_waits(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    written = []
    with pytest.raises(KeyboardInterrupt), interrupts:
        with interrupts:
            interrupt()
            written.append("inner")
        written.append("outer")
    assert written == ["inner", "outer"]
    interrupts.shut()


def test_once_held_it_strikes_no_more_in_this_task_and_again_in_the_next(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    interrupts.hold()
    with interrupts:
        interrupt()
    interrupts.shut()
    page.finish()
    begin(page, interrupts, 2)
    page.cancel(2)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    interrupts.shut()


def test_another_thread_holds_nothing_back(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    aside = threading.Thread(target=interrupts.hold)
    aside.start()
    aside.join()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    interrupts.shut()


def test_other_threads_do_not_count_for_the_shield(page: Page, interrupts: Interrupts) -> None:
    begin(page, interrupts, 1)
    page.cancel(1)
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with interrupts:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(60)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    leave.set()
    thread.join()
    interrupts.shut()


def test_arming_undoes_what_a_task_did_to_the_signal(page: Page, interrupts: Interrupts) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    interrupts.arm()
    interrupts.unblock()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    begin(page, interrupts, 1)
    page.cancel(1)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    interrupts.shut()
