"""Clocks, medians and tables."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A figure's rows. ``notes`` stand below it. A cell is text, ready to be read."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """As a table for a terminal and for Markdown alike."""
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]

        def line(row: Sequence[str]) -> str:
            padded = [cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in pairs(row)]
            return f"| {' | '.join(padded)} |"

        def pairs(row: Sequence[str]) -> list[tuple[int, tuple[str, int]]]:
            return list(enumerate(zip(row, widths, strict=True)))

        rule = "|".join([f":{'-' * (widths[0] + 1)}", *(f"{'-' * (width + 1)}:" for width in widths[1:])])
        body = [line(self.columns), f"|{rule}|", *(line(row) for row in self.rows)]
        return "\n".join([f"### {self.title}", "", *body, *(f"\n{note}" for note in self.notes)])


def not_measured(missing: Sequence[str]) -> str:
    """A note on the contenders that are not installed."""
    return f"Not installed here, and so not measured: {', '.join(missing)} (`make bench` brings them)."


def seconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def p50(action: Callable[[], object], count: int) -> float:
    """The median of ``count`` single runs, in seconds."""
    clock = time.perf_counter
    times = []
    for _ in range(count):
        begun = clock()
        action()
        times.append(clock() - begun)
    return statistics.median(times)


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Ask each contender for a figure in turn, ``rounds`` times over: what disturbs the machine disturbs all.

    The order is turned around from round to round, so that none always runs behind the same neighbour.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)
        for name in order if number % 2 == 0 else reversed(order):
            gc.collect()
            figures[name].append(contenders[name]())
    return figures


def ratio(figure: float, base: float) -> str:
    """``2.4 x``."""
    return f"{figure / base:.2f} x" if figure < 10 * base else f"{figure / base:,.0f} x"


def duration(figure: float) -> str:
    """Seconds, with a unit that fits."""
    if figure < 1e-3:
        return f"{figure * 1e6:,.0f} us"
    return f"{figure * 1e3:,.0f} ms" if figure < 10 else f"{figure:,.1f} s"
