"""Many no-ops at once: ``sky.gather(*(f() for ...)) >> pool``."""

from __future__ import annotations

from benchmarks import tasks
from benchmarks._measure import Table, ratio, seconds
from benchmarks._race import race
from benchmarks.peers import Contender


def measure(*, quick: bool) -> Table:
    """Tasks per second when 5,000 that do nothing are handed over at once to two workers."""
    count = 1_000 if quick else 5_000

    def many(contender: Contender) -> float:
        asked = count // 5 if contender.heavy else count
        return asked / seconds(lambda: contender.many(tasks.nothing, asked))

    result = race(many, 3 if quick else 5, quick=quick)
    rows = [(lane.contender.name, f"{lane.figure:,.0f}", ratio(lane.figure, lane.floor)) for lane in result.lanes]
    notes = [f"Ray and Dask are given {count // 5:,}.", *result.notes()]
    return Table(f"{count:,} no-ops through gather on 2 slots", ("", "tasks/s", "of the floor"), rows, notes)
