"""From nothing to the first result: a new interpreter, two workers, one call."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
from importlib.util import find_spec

from benchmarks._measure import Table, duration, interleaved, not_measured, ratio, seconds

PROGRAMS = {
    "floor": (
        "",
        """
from benchmarks.floor import Worker
def f(x): return x + 1
workers = [Worker(), Worker()]
assert [worker.call(f, 1) for worker in workers] == [2, 2]
for worker in workers: worker.close()
""",
    ),
    "skyward": (
        "",
        """
import skyward as sky
@sky.compute
def f(x): return x + 1
with sky.ComputePool(nodes=2, display="quiet") as pool:
    assert f(1) @ pool == (2, 2)
""",
    ),
    "ProcessPoolExecutor": (
        "",
        """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
def f(x): return x + 1
with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
    assert list(pool.map(f, [1, 1])) == [2, 2]
""",
    ),
    "loky": (
        "loky",
        """
from loky import ProcessPoolExecutor
def f(x): return x + 1
with ProcessPoolExecutor(2) as pool:
    assert list(pool.map(f, [1, 1])) == [2, 2]
""",
    ),
    "execnet": (
        "execnet",
        """
import execnet
channels = [execnet.makegateway("popen").remote_exec("channel.send(channel.receive() + 1)") for _ in range(2)]
for channel in channels: channel.send(1)
assert [channel.receive() for channel in channels] == [2, 2]
""",
    ),
    "Ray": (
        "ray",
        """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False, logging_level="error")
@ray.remote
def f(x): return x + 1
assert ray.get([f.remote(1), f.remote(1)]) == [2, 2]
""",
    ),
    "Dask": (
        "distributed",
        """
from distributed import Client
def f(x): return x + 1
if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=40) as client:
        assert [future.result() for future in (client.submit(f, 1), client.submit(f, 1, pure=False))] == [2, 2]
""",
    ),
}
SLOW = {"Ray", "Dask"}


def measure(*, quick: bool) -> Table:
    """The whole life of a program that starts two workers, has each answer, and ends them."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    missing = [name for name, (module, _) in PROGRAMS.items() if module and find_spec(module) is None]
    runs = {}
    for name, (_, code) in PROGRAMS.items():
        if name not in missing and not (quick and name in SLOW):
            command = functools.partial(
                subprocess.run, [sys.executable, "-c", code], check=True, env=environment, capture_output=True
            )
            runs[name] = functools.partial(seconds, command)
    for run in runs.values():
        run()  # so that everything is compiled
    figures = interleaved({name: run for name, run in runs.items() if name not in SLOW}, 3 if quick else 9)
    figures |= interleaved({name: run for name, run in runs.items() if name in SLOW}, 2)
    taken = {name: statistics.median(times) for name, times in figures.items()}
    rows = [(name, duration(time), ratio(time, taken["floor"])) for name, time in taken.items()]
    notes = ["A whole program: interpreter, both workers, a result of each, the end of all; modules compiled already."]
    if missing:
        notes.append(not_measured(missing))
    return Table("From nothing to the first result, and out again", ("", "time", "to the floor"), rows, notes)
