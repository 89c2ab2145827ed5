"""A terminal in memory, and what feeds a display that draws on it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator

import pytest

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
