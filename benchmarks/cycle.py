"""Entering and leaving a pool, again and again in one program."""

from __future__ import annotations

import functools
import statistics

from benchmarks import tasks
from benchmarks._measure import Table, duration, interleaved, ratio, seconds
from benchmarks.peers import WORKERS, Contender, Floor, Loky, Processes, Skyward


def cycle(kind: type[Contender]) -> None:
    """Start two workers, have them answer, and end them."""
    contender = kind()
    for _ in range(WORKERS):
        contender.call(tasks.nothing)
    contender.close()


def measure(*, quick: bool) -> Table:
    """The median time of a whole cycle, when everything has been imported before."""
    kinds = [kind for kind in (Floor, Skyward, Processes, Loky) if not kind.missing()]
    for kind in kinds:
        cycle(kind)
    figures = interleaved(
        {kind.name: functools.partial(seconds, functools.partial(cycle, kind)) for kind in kinds}, 3 if quick else 11
    )
    taken = {name: statistics.median(times) for name, times in figures.items()}
    rows = [(name, duration(time), ratio(time, taken[Floor.name])) for name, time in taken.items()]
    return Table("Enter, one call to each worker, leave", ("", "time", "to the floor"), rows)
