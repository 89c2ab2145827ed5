"""Many nodes of one client: 64 over SSH, and what each of them costs the client in time and memory.

One SSH server of this machine serves them all, with a folder for each: that is the hardest case for its limits on
logins that are under way. The machine also runs the 64 nodes, so the time is theirs as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks._measure import Table, duration
from benchmarks.containers import SHARED, log_out, logins

MANY = 64
TITLE = f"{MANY} nodes over SSH from one client"


def memory() -> float:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(what: str, count: int, address: Any, root: str) -> None:
    """A program with so many nodes, or bare connections; it prints its figures as a line of JSON."""
    import asyncssh  # noqa: F401  neither begins with importing it

    if what == "bare":
        log_out(*logins(address, 1))
        before, worked, begun = memory(), time.process_time(), time.perf_counter()
        opened = logins(address, count)
        taken, used, grown = time.perf_counter() - begun, time.process_time() - worked, memory() - before
        log_out(*opened)
        print(json.dumps({"first": taken, "processor": used, "memory": grown, "leave": 0.0}), flush=True)
        return
    from sshd_here import OverSsh

    import skyward as sky

    @sky.compute
    def answer(x: int) -> int:
        return x + 1

    provider = OverSsh(address=address, root=root)
    with sky.ComputePool(provider, nodes=1, lease=120, display="quiet") as pool:  # makes what all share
        answer(1) >> pool
    before, worked, begun = memory(), time.process_time(), time.perf_counter()
    with sky.ComputePool(provider, nodes=count, lease=120, display="quiet") as pool:
        assert answer(1) @ pool == (2,) * count
        taken, used, grown = time.perf_counter() - begun, time.process_time() - worked, memory() - before
        begun = time.perf_counter()
    left = time.perf_counter() - begun
    print(json.dumps({"first": taken, "processor": used, "memory": grown, "leave": left}), flush=True)


def _program(*given: Any) -> dict[str, float]:
    """Run `main` in a new program. The address holds a key, so it goes through the standard input."""
    paths = os.pathsep.join((str(SHARED), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.many"],
        input=pickle.dumps(given),
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        stdout=subprocess.PIPE,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measure(*, quick: bool) -> Table:
    """Bare connections and nodes, each in a program of its own."""
    sys.path.append(str(SHARED))
    try:
        from sshd_here import Sshd, find_sshd
    except ImportError as error:
        return Table(TITLE, ("",), [(f"{error.name} is not installed here",)])
    if find_sshd() is None:
        return Table(TITLE, ("",), [("sshd is not installed here: apt install openssh-server",)])
    from skyward._uv import find_uv

    bare = f"asyncssh, {MANY} bare logins"
    kinds = {bare: ("bare", MANY), "skyward, one node": ("pool", 1), f"skyward, {MANY} nodes": ("pool", MANY)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        server = Sshd(path=[str(asyncio.run(find_uv()).parent)])
        try:
            for _ in range(1 if quick else 3):
                for name, (what, count) in kinds.items():
                    found[name].append(_program(what, count, server.address(), f"{folder}/root"))
        finally:
            server.close()
    typical = {
        name: {key: statistics.median(each[key] for each in programs) for key in programs[0]}
        for name, programs in found.items()
    }
    rows = []
    for name, figures in typical.items():
        count = kinds[name][1]
        each = {key: value / count for key, value in figures.items()}
        rows.append(
            (
                name,
                duration(figures["first"]),
                duration(each["first"]),
                duration(each["processor"]),
                f"{each['memory'] / 1e3:,.0f} kB",
                duration(figures["leave"]) if figures["leave"] else "",
            )
        )
    columns = ("", "to all results", "each", "client's processor, each", "client's memory, each", "leaving")
    notes = [
        "One SSH server, with a folder for each node, all on this machine, which also runs the nodes.",
        "Logins go six at a time, which is within any sshd's limits (`MaxStartups 10:30:100`).",
        "The client's processor and memory: what they grow by over a program that has had a pool already.",
    ]
    return Table(TITLE, columns, rows, notes)


if __name__ == "__main__":
    main(*pickle.load(sys.stdin.buffer))
