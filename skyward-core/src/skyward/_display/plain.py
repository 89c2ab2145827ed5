"""What the spinner becomes where nothing can be redrawn: lines, few of them for tasks, and the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from skyward._display.board import Board
from skyward._display.lines import line
from skyward._display.log import write_line
from skyward._display.text import count
from skyward.model.events import EVENTS, CostFinal, CostUpdate, Metrics, SkywardEvent, TaskCompleted, TaskStarted

__all__ = ["PlainDisplay"]

_SILENT = (TaskStarted, Metrics, CostUpdate, CostFinal)


class PlainDisplay:
    """Writes lines to ``stream`` (stderr where it is ``None``). Tasks that succeed share a line each second."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._board = Board(clock)
        self._started = False
        self._spoken = float("-inf")
        self._unspoken = 0

    @property
    def types(self) -> tuple[type[SkywardEvent], ...]:
        return tuple(kind for kind in EVENTS if kind not in (TaskStarted, Metrics))

    def start(self) -> None:
        self._started = True

    def callback(self, event: SkywardEvent) -> None:
        self._board.feed(event)
        if isinstance(event, TaskCompleted) and event.succeeded:
            self._task(event)
        elif not isinstance(event, _SILENT):
            write_line(self._stream, line(event))

    def stop(self) -> None:
        if self._started:
            self._started = False
            write_line(self._stream, self._board.summary())

    def _task(self, event: TaskCompleted) -> None:
        now = self._clock()
        self._unspoken += 1
        if now - self._spoken >= 1.0:
            more = self._unspoken
            said = line(event) if more == 1 else f"[TaskCompleted] {count(more, 'task')} completed"
            write_line(self._stream, said)
            self._spoken, self._unspoken = now, 0
