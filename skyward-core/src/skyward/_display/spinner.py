"""The display ``spinner``: a live line for each node, what nodes write above it, one summary line at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from skyward._display.board import Board
from skyward._display.lines import line
from skyward._display.screen import PERIOD, Screen
from skyward._display.text import clean
from skyward.model.events import (
    EVENTS,
    Error,
    InstancePreempted,
    LogLine,
    NodeReplaced,
    SkywardEvent,
    TaskCompleted,
    TimeoutApproaching,
)

__all__ = ["SpinnerDisplay"]


class SpinnerDisplay:
    """Draws on ``stream``, stderr by default. ``period`` is that of `Screen`, ``clock`` measures what has elapsed."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        period: float | None = PERIOD,
    ) -> None:
        self._stream = stream
        self._period = period
        self._board = Board(clock)
        self._screen: Screen | None = None

    @property
    def types(self) -> tuple[type[SkywardEvent], ...]:
        return EVENTS

    def start(self) -> None:
        if self._screen is None:
            self._screen = Screen.join(self._board, self._stream, self._period)

    def callback(self, event: SkywardEvent) -> None:
        self._board.feed(event)
        if self._screen is not None:
            said = _worth_saying(event)
            if said is not None:
                self._screen.say(f"{said}\n")

    def tick(self) -> None:
        """Draw now."""
        if self._screen is not None:
            self._screen.tick()

    def stop(self) -> None:
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.leave(self._board, self._board.summary())


def _worth_saying(event: SkywardEvent) -> str | None:
    match event:
        case LogLine():
            return clean(f"node {event.node}: {event.line}")
        case TaskCompleted() if not event.succeeded:
            return line(event)
        case Error() | InstancePreempted() | NodeReplaced() | TimeoutApproaching():
            return line(event)
        case _:
            return None
