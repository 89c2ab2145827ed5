"""joblib's ``Parallel``, and scikit-learn's searches, on two slots of a pool and on loky's two processes."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks import tasks
from benchmarks._fits import ALONE, LOKY, PROGRAM, SKYWARD, wide_search
from benchmarks._measure import Table, duration, interleaved, ratio, seconds
from benchmarks.closure import Counter
from benchmarks.peers import WORKERS

NEEDED = ("joblib", "sklearn", "skyward_sklearn")
MEGABYTES = 200
BUSY = 0.01
"""Seconds that a task of some length takes."""
COLD = """In a new program, which has imported scikit-learn. Cold: from no workers to the result, entering the block
included; the fit alone, with the block entered; the same search once more."""
SENT = """Sent: bytes given to the links, all counted, in multiples of the array and per slot. The fit alone, on workers
that have just been started. Those of loky read the array from a file in memory."""


@contextlib.contextmanager
def pool(name: str = "JoblibPool") -> Iterator[Any]:
    """Two nodes with a slot each; what ``Parallel`` starts inside of the block runs there."""
    import skyward as sky

    with getattr(sky.integrations, name)(nodes=WORKERS, display="quiet") as entered:
        yield entered


@contextlib.contextmanager
def loky() -> Iterator[None]:
    """Use the processes of loky, whatever backend is in use outside of the block."""
    import joblib

    with joblib.parallel_config("loky"):
        yield


def parallel(task: Callable[..., object], arguments: Sequence[Sequence[object]]) -> None:
    """One ``Parallel`` call."""
    from joblib import Parallel, delayed

    Parallel(n_jobs=WORKERS)(delayed(task)(*given) for given in arguments)


def measure(*, quick: bool) -> Sequence[Table]:
    """Short tasks, a search on workers that have just been started, and one over a large array."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return [Table("joblib", ("",), [(f"{', '.join(missing)}: not installed here",)])]
    return [_short(quick=quick), _cold(quick=quick), _large(quick=quick)]


def _medians(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    return {name: statistics.median(figures) for name, figures in interleaved(contenders, rounds).items()}


class Work(NamedTuple):
    """What one ``Parallel`` call is given."""

    name: str
    task: Callable[..., object]
    arguments: Sequence[Sequence[object]]

    def here(self) -> float:
        """Seconds that it takes on the backend in use."""
        return seconds(lambda: parallel(self.task, self.arguments))

    def on_loky(self) -> float:
        """The same on loky's processes."""
        with loky():
            return self.here()


SHORT = (
    Work("2,000 no-ops", tasks.nothing, [()] * 2_000),
    Work("200 tasks that wait 10 ms", time.sleep, [(BUSY,)] * 200),
    Work("200 tasks that compute 10 ms", tasks.compute, [(BUSY,)] * 200),
)


def _short(*, quick: bool) -> Table:
    """Warm workers and tasks so short that handing them over counts."""
    rows = []
    with pool():
        for work in SHORT:
            contenders = {LOKY: work.on_loky, SKYWARD: work.here}
            for contender in contenders.values():
                contender()
            taken = _medians(contenders, 3 if quick else 9)
            times = (taken[LOKY], taken[SKYWARD])
            rows.append((work.name, *map(duration, times), ratio(times[1], times[0])))
    return Table("joblib: Parallel(n_jobs=2)", ("", LOKY, SKYWARD, "to loky"), rows, ["Workers that are warm."])


def _cold(*, quick: bool) -> Table:
    """A search whose workers have yet to be started, each time in a new program."""
    told: dict[str, list[dict[str, float]]] = {name: [] for name in (ALONE, LOKY, SKYWARD)}

    def run(name: str) -> float:
        command = [sys.executable, "-c", PROGRAM, name]
        told[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        return told[name][-1]["cold"]

    _medians({name: functools.partial(run, name) for name in told}, 3 if quick else 15)

    def median(name: str, part: str) -> float:
        return statistics.median(taken[part] for taken in told[name])

    rows = []
    for name in told:
        cold, fit, warm = (median(name, part) for part in ("cold", "fit", "warm"))
        rows.append((name, duration(cold), ratio(cold, median(LOKY, "cold")), duration(fit), duration(warm)))
    columns = ("", "cold", "to loky", "of that, the fit", "once more")
    return Table("scikit-learn: 48 fits of an SVC", columns, rows, [COLD])


class Wide(NamedTuple):
    """A search over an array that is large, with many fits that take next to no time."""

    fits: int
    array: Any
    sent: list[float]

    def here(self) -> float:
        """Seconds that it takes on slots that have just been started; what was sent to each is noted."""
        with pool("ScikitLearnPool"), Counter() as counter:
            taken = self._fit()
        self.sent.append(counter.sent / self.array.nbytes / WORKERS)
        return taken

    def on_loky(self) -> float:
        """The same on loky's processes."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()
        with loky():
            return self._fit()

    def _fit(self) -> float:
        import numpy as np

        targets = np.arange(len(self.array)) % 2
        return seconds(lambda: wide_search(self.fits).fit(self.array, targets))


def _large(*, quick: bool) -> Table:
    """How often an array crosses that all fits are trained on."""
    import numpy as np

    rows = []
    for fits in (12, 48):
        work = Wide(fits, np.random.default_rng(fits).random((MEGABYTES * 250, 500)), [])
        taken = _medians({LOKY: work.on_loky, SKYWARD: work.here}, 1 if quick else 3)
        times = (taken[LOKY], taken[SKYWARD])
        sent = f"{statistics.median(work.sent):.3f}"
        rows.append((f"{fits} fits", *map(duration, times), ratio(times[1], times[0]), sent))
    columns = ("", LOKY, SKYWARD, "to loky", "sent")
    return Table(f"scikit-learn: a search over {MEGABYTES} MB", columns, rows, [SENT])
