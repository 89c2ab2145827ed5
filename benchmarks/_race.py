"""Contenders side by side."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks._measure import interleaved, not_measured
from benchmarks.peers import ALL, Contender, Floor, Skyward, warm


class Lane(NamedTuple):
    """A contender's median, and that of the floor in the same race."""

    contender: type[Contender]
    figure: float
    floor: float


class Race(NamedTuple):
    """The contenders that ran, and the names of those that are not installed."""

    lanes: Sequence[Lane]
    missing: Sequence[str]

    def notes(self) -> list[str]:
        """What a reader has to know of the contenders."""
        said = [f"{lane.contender.name}: {lane.contender.note}." for lane in self.lanes if lane.contender.note]
        if self.missing:
            said.append(not_measured(self.missing))
        return said


def race(
    measure: Callable[[Contender], float],
    rounds: int,
    *,
    quick: bool = False,
    without: Sequence[type[Contender]] = (),
) -> Race:
    """Let ``measure`` ask each contender in turn, and take the median of its rounds.

    Those that stay busy in the background run in a race of their own, with the floor and Skyward beside them, so that
    they disturb nobody else. ``quick`` leaves them out.
    """
    wanted = [contender for contender in ALL if contender not in without]
    missing = [contender.name for contender in wanted if contender.missing()]
    there = [contender for contender in wanted if not contender.missing()]
    lanes = list(_heat([contender for contender in there if not contender.heavy], measure, rounds))
    if not quick:
        for contender in there:
            if contender.heavy:
                lanes += [lane for lane in _heat([Floor, Skyward, contender], measure, rounds) if lane.contender.heavy]
    return Race(lanes, missing)


def _heat(kinds: Sequence[type[Contender]], measure: Callable[[Contender], float], rounds: int) -> Iterator[Lane]:
    with contextlib.ExitStack() as stack:
        running = {}
        for kind in kinds:
            contender = running[kind.name] = kind()
            stack.callback(contender.close)
            warm(contender)
        contenders = {name: lambda contender=contender: measure(contender) for name, contender in running.items()}
        figures = interleaved(contenders, rounds)
    floor = statistics.median(figures[Floor.name])
    for kind in kinds:
        yield Lane(kind, statistics.median(figures[kind.name]), floor)
