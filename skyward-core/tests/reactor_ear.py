"""A reactor for tests of links, and somebody who listens at their ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from skyward._reactor import Reactor
from skyward.worker.protocol import Frame


class Ear:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.errors: list[Exception | None] = []
        self._changed = threading.Condition()

    def on_frame(self, frame: Frame) -> None:
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def on_lost(self, error: Exception | None) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, frames: int = 0, errors: int = 0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.frames) >= frames and len(self.errors) >= errors, 60)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor("test-io")
    yield made
    made.close()
