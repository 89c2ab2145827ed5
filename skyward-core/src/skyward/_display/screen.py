"""The live area at the foot of a terminal. The only module that knows rich."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from skyward._display.redirect import Redirect, Redirection
from skyward._display.text import clean, count, encodable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from skyward._display.board import Board, NodeRow

__all__ = ["Screen"]

PERIOD = 0.125
"""Seconds between two drawings."""

PENDING = 5_000
"""So many lines wait for the next drawing; beyond it whoever says one draws."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_FRAMES = "|/-\\"
_BUSY_STATES = ("launching", "running", "connected", "bootstrap", "replaced", "stopping")


class _Raw:
    """Text that is neither wrapped nor interpreted."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        yield Segment(self._text)


class Screen:
    """Draws the boards of all pools that share one terminal, and above them the lines that were said.

    One thread draws, at most every `PERIOD` seconds, however much happens. ``period=None`` leaves drawing to calls of
    `tick`. A terminal that fails ends the drawing, never the program.
    """

    _screens: ClassVar[dict[int, Screen]] = {}
    _screens_lock = threading.Lock()

    def __init__(self, stream: TextIO, period: float | None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._key = id(stream)
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._boards: list[Board] = []
        self._pending: list[str] = []
        self._frame = 0
        self._done = threading.Event()
        self._over = False
        self._period = period
        self._drawn = float("-inf")
        self._redirection = Redirection(self.say)

        class Terminal(Console):
            def on_broken_pipe(self) -> None:  # rich would end the program, and send its stdout nowhere
                raise BrokenPipeError("the terminal is gone")

        self._console = Terminal(
            file=stream,
            force_terminal=True,
            force_interactive=True,
            force_jupyter=False,
            highlight=False,
            markup=False,
            emoji=False,
        )
        utf = self._console.encoding.lower().startswith("utf")
        self._frames = _FRAMES if utf else _ASCII_FRAMES
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._area,
        )

    @classmethod
    def join(cls, board: Board, stream: TextIO | None, period: float | None = PERIOD) -> Screen:
        """Show ``board`` on the screen of ``stream``, which is made if there is none yet."""
        target = sys.stderr if stream is None else stream
        if isinstance(target, Redirect):
            target = target.real
        with cls._screens_lock:
            screen = cls._screens.get(id(target))
            if screen is None or screen._done.is_set() or screen._pid != os.getpid():
                screen = cls._screens[id(target)] = cls(target, period)
                screen._begin()
            with screen._lock:
                screen._boards.append(board)
            return screen

    def leave(self, board: Board, last: str) -> None:
        """Take ``board`` off and leave the line ``last``; without any board the screen ends."""
        with Screen._screens_lock:
            with self._lock:
                if board in self._boards:
                    self._boards.remove(board)
                self._pending.append(f"{clean(last)}\n")
                ended = not self._boards
            if ended:
                self.end()
            else:
                self.tick()
            with self._lock:
                if self._over:  # ended before, by a broken terminal or at the program's end
                    self._write_through()

    def say(self, text: str) -> None:
        """Have ``text``, whole lines, put above the live area: at once if it was quiet, else with the next drawing."""
        with self._lock:
            self._pending.append(text)
            if self._over:
                self._write_through()
                return
            due = self._period is not None and time.monotonic() - self._drawn >= self._period
            due = due or len(self._pending) > PENDING
        if due:
            self.tick()

    def tick(self) -> None:
        """Draw once."""
        with self._lock:
            if self._done.is_set():
                return
            try:
                self._draw()
            except Exception:  # noqa: BLE001 - whoever prints or says something must not pay for a broken terminal
                broken = True
            else:
                broken = False
        if broken:
            self.end()

    def end(self) -> None:
        """Draw what is left, give the terminal and the standard streams back. A second time does nothing."""
        with self._lock:
            if self._done.is_set():
                return
            self._done.set()
            atexit.unregister(self.end)
            if self._pid != os.getpid():
                return
        try:
            with self._lock, contextlib.suppress(Exception):  # the terminal may be gone
                self._draw()
        finally:  # Ctrl-C must not leave the cursor hidden
            try:
                with self._lock, contextlib.suppress(Exception):
                    self._live.stop()
            finally:
                # Not under the lock: a thread that logs may hold a redirected handler and wait for the lock.
                self._redirection.end()
                with self._lock:
                    self._over = True
                    self._write_through()
                if Screen._screens.get(self._key) is self:
                    del Screen._screens[self._key]

    def _write_through(self) -> None:
        text, self._pending = "".join(self._pending), []
        if text:
            with contextlib.suppress(OSError, ValueError):
                self._console.file.write(encodable(text, self._console.encoding))
                self._console.file.flush()

    def _begin(self) -> None:
        atexit.register(self.end)
        self._redirection.begin()
        self._live.start()
        if self._period is not None:
            threading.Thread(target=self._work, args=(self._period,), name="skyward-spinner", daemon=True).start()

    def _work(self, period: float) -> None:
        while not self._done.wait(period):
            self.tick()

    def _draw(self) -> None:
        lines, self._pending = self._pending, []
        self._frame += 1
        self._drawn = time.monotonic()
        with self._console:  # one write for both
            if lines:
                text = encodable("".join(lines), self._console.encoding)
                self._console.print(_Raw(text), end="", soft_wrap=True)
            self._live.refresh()

    def _area(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        partial = encodable(clean(self._redirection.partial), self._console.encoding)
        parts: list[RenderableType] = [Text(partial, no_wrap=True, overflow="ellipsis")] if partial else []
        room = max(2, (self._console.height - 2) // max(1, len(self._boards)) - 2)
        for board in self._boards:
            rows = board.rows()
            if rows:
                grid = Table.grid(padding=(0, 2, 0, 0))
                for _ in range(4):
                    grid.add_column(no_wrap=True, overflow="ellipsis")
                for row in rows[:room]:
                    grid.add_row(*self._cells(row))
                parts.append(grid)
            if len(rows) > room:
                parts.append(Text(f"  and {count(len(rows) - room, 'node')} more", style="dim"))
            parts.append(Text(clean(board.status()), no_wrap=True, overflow="ellipsis", style="bold"))
        return Group(*parts)

    def _cells(self, row: NodeRow) -> Iterable[Any]:
        from rich.text import Text

        busy = row.running or row.state.startswith(_BUSY_STATES)
        mark = self._frames[self._frame % len(self._frames)] if busy else " "
        style = {"ready": "green", "lost": "red"}.get(row.state, "yellow")
        tasks = f"{row.running} running, {row.done} done"
        if row.failed:
            tasks += f", {row.failed} failed"
        yield f"{mark} node {row.node}"
        yield Text(clean(row.state), style=style)
        yield Text(tasks)
        yield Text(_usage(row), style="dim")


def _usage(row: NodeRow) -> str:
    sample = row.metrics
    if sample is None:
        return ""
    said = (
        f"cpu {sample.cpu_percent:.0f}%  mem {sample.memory_used_mb / 1024:.1f}/{sample.memory_total_mb / 1024:.1f} GiB"
    )
    return said if sample.gpu_utilization is None else f"{said}  gpu {sample.gpu_utilization:.0f}%"
