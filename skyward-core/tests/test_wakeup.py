"""Each signal that is waited for is followed by harmless ones, until the main thread has surely woken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from skyward import _wakeup

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


class Nudges:
    """Counts those that the main thread is sent, and sends none."""

    def __init__(self) -> None:
        self.count = 0
        self._come = threading.Condition()

    def __call__(self, thread: int, number: int) -> None:
        assert (thread, number) == (threading.main_thread().ident, signal.SIGURG)
        with self._come:
            self.count += 1
            self._come.notify_all()

    def are(self, count: int) -> bool:
        with self._come:
            return self._come.wait_for(lambda: self.count >= count, PATIENCE)


@pytest.fixture
def nudges(monkeypatch: pytest.MonkeyPatch) -> Nudges:
    made = Nudges()
    monkeypatch.setattr(signal, "pthread_kill", made)
    return made


@pytest.fixture
def watched(nudges: Nudges) -> Iterator[Callable[[], None]]:
    """Begins to watch for SIGUSR1."""
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    yield lambda: _wakeup.start([signal.SIGUSR1])
    _wakeup.stop()
    signal.signal(signal.SIGUSR1, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_is_followed_by_as_many_nudges_as_are_said(
    nudges: Nudges, watched: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wakeup, "_AFTER", (0.0, 0.001, 0.01))
    watched()
    signal.raise_signal(signal.SIGUSR1)
    assert nudges.are(3)
    signal.raise_signal(signal.SIGUSR1)
    assert nudges.are(6)


def test_a_second_signal_is_followed_at_once_and_the_end_waits_for_no_nudge(
    nudges: Nudges, watched: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wakeup, "_AFTER", (0.0, 100_000.0))
    watched()
    for count in range(1, 4):
        signal.raise_signal(signal.SIGUSR1)
        assert nudges.are(count)
    threads = threading.active_count()
    _wakeup.stop()
    assert threading.active_count() == threads - 1


def test_a_signal_that_is_not_watched_is_followed_by_none(nudges: Nudges, watched: Callable[[], None]) -> None:
    watched()
    other = signal.signal(signal.SIGUSR2, lambda _number, _frame: None)
    signal.raise_signal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, other)
    _wakeup.stop()  # and so all of it has been looked at
    assert nudges.count == 0
