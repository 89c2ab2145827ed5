"""A warm no-op: from ``f() >> pool`` to its result."""

from __future__ import annotations

from benchmarks import tasks
from benchmarks._measure import Table, duration, p50, ratio
from benchmarks._race import race
from benchmarks.peers import Contender


def measure(*, quick: bool) -> Table:
    """The median time of one call of a function that does nothing, at a quiet pool of two workers."""
    count = 100 if quick else 400

    def one(contender: Contender) -> float:
        if contender.heavy:
            return p50(lambda: contender.call(tasks.nothing), count // 10)
        for _ in range(20):
            contender.call(tasks.nothing)
        return p50(lambda: contender.call(tasks.nothing), count)

    result = race(one, 3 if quick else 7, quick=quick)
    rows = [(lane.contender.name, duration(lane.figure), ratio(lane.figure, lane.floor)) for lane in result.lanes]
    return Table("A warm no-op, p50", ("", "time", "to the floor"), rows, result.notes())
