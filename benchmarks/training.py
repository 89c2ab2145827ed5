"""Process groups of torch: what skyward adds to a call of a second, and the way to the first one beside torchrun's."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import _ddp
from benchmarks._measure import Table, duration, interleaved, ratio

RANKS = 2
SECONDS = 1.0
TORCHRUN, SKYWARD = "torchrun", "skyward"
AROUND = """The time that a call takes, less the time from the first rank's beginning to the last rank's end. Most of it
is gloo's, which closes its connections in steps of 10 ms."""
FIRST = """From the start of torchrun until all ranks are in the process group; and from the entering of a pool's block
until they are, with an environment that has been built before. skyward imports torch while the pool is being made."""


@contextmanager
def pool() -> Iterator[Any]:
    """Two local nodes with torch of the package index, whatever the client has."""
    import skyward as sky

    plugins = [sky.integrations.torch(wheels="pypi")]
    with sky.ComputePool(nodes=RANKS, plugins=plugins, display="quiet") as entered:
        yield entered


def measure(*, quick: bool) -> Sequence[Table]:
    """The way into the first group, then what later calls cost."""
    if find_spec("skyward_torch") is None:
        return [Table("torch", ("",), [("skyward_torch: not installed here",)])]
    import skyward as sky

    where = sky.compute(_python)
    call = sky.compute(_ddp.train)
    with pool() as entered:
        python = where() >> entered
        call(0.0) @ entered  # the first call imports what DistributedDataParallel needs
        around = sorted(_around(entered, call) for _ in range(3 if quick else 10))
    times = {TORCHRUN: lambda: _torchrun(python), SKYWARD: lambda: _first(call)}
    first = {name: statistics.median(taken) for name, taken in interleaved(times, 1 if quick else 5).items()}
    return [
        Table(
            f"torch: around a call of {SECONDS:g} s, {RANKS} ranks",
            ("", "median", "largest"),
            [(SKYWARD, duration(statistics.median(around)), duration(around[-1]))],
            [" ".join(AROUND.split())],
        ),
        Table(
            f"torch: until the first process group is there, {RANKS} ranks",
            ("", TORCHRUN, SKYWARD, f"to {TORCHRUN}"),
            [("seconds", *map(duration, (first[TORCHRUN], first[SKYWARD])), ratio(first[SKYWARD], first[TORCHRUN]))],
            [" ".join(FIRST.split())],
        ),
    ]


def _python() -> str:
    import sys

    return sys.executable


def _around(entered: Any, call: Any) -> float:
    begun = time.time()
    ranks = call(SECONDS) @ entered
    ended = time.time()
    return float(ended - begun - (max(end for _, end in ranks) - min(start for start, _ in ranks)))


def _first(call: Any) -> float:
    begun = time.time()
    with pool() as entered:
        ranks = call(0.0) @ entered
    return float(max(start for start, _ in ranks) - begun)


def _torchrun(python: str) -> float:
    """As somebody would start it by hand on one machine."""
    begun = time.time()
    options = ["--standalone", f"--nproc-per-node={RANKS}"]
    environ = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [str(Path(python).with_name("torchrun")), *options, "-m", _ddp.__name__]
    root = Path(_ddp.__file__).parent.parent
    told = subprocess.run(command, cwd=root, env=environ, check=True, capture_output=True, text=True).stdout
    return max(map(float, told.split())) - begun
