"""An array of 64 MiB to a worker and back, and the memory that takes."""

from __future__ import annotations

import functools
import gc
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import tasks
from benchmarks._measure import Table, interleaved, ratio, seconds
from benchmarks.peers import Contender, Execnet, Floor, Loky, Processes, Ray, Skyward, warm

SIZE = 64 << 20


class Echo:
    """A process that reads so many bytes from a Unix socket and then writes them back. No pickle, no arrays.

    ``fresh``: both sides read into new memory each time.
    """

    def __init__(self, *, fresh: bool) -> None:
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "benchmarks.array", str(theirs.fileno()), *(["fresh"] if fresh else [])]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._space = None if fresh else bytearray(SIZE)

    def back(self, view: memoryview) -> None:
        """Send and read back."""
        self._socket.sendall(view)
        read_all(self._socket, bytearray(SIZE) if self._space is None else self._space)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()


def read_all(connection: socket.socket, space: bytearray) -> bool:
    """Fill ``space``; False when the other end is gone."""
    view = memoryview(space)
    while view:
        count = connection.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True


def echo(connection: socket.socket, *, fresh: bool) -> None:
    """What that process does."""
    space = bytearray(SIZE)
    while read_all(connection, space):
        connection.sendall(space)
        if fresh:
            space = bytearray(SIZE)


def plus_one(array: Any) -> Any:
    """A result as large as what came, in memory of its own."""
    return array + 1


def peak_from_now() -> int:
    """Start to record this process's peak memory anew; what it has now, in bytes."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def peak() -> int:
    """The most memory, in bytes, since ``peak_from_now``."""
    return _status("VmHWM")


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(f"{key}:"))


def memory(contender: Contender, array: Any) -> tuple[float, float]:
    """Peak memory beyond what there was, as a multiple of the array: on this side with the array, and on the worker's.

    Two calls come before, so that what either side keeps for later is there. The pool for this has one worker, so that
    the same process answers.
    """
    for _ in range(2):
        contender.call(plus_one, array)
    theirs = contender.call(peak_from_now)
    ours = peak_from_now() - array.nbytes
    result = contender.call(plus_one, array)
    our_peak, their_peak = peak(), contender.call(peak)
    assert result[0] == array[0] + 1
    return (our_peak - ours) / array.nbytes, (their_peak - theirs) / array.nbytes


class OneNode(Skyward):
    """One worker, so that each call goes to the same process."""

    def __init__(self) -> None:
        import skyward as sky

        self._sky = sky
        self._decorated = {}
        self.pool = sky.ComputePool(nodes=1, display="quiet")
        self.pool.__enter__()


def measure(*, quick: bool) -> Table:
    """Megabytes per second, there and back counted, and peak memory."""
    try:
        import numpy as np
    except ImportError:
        return Table("64 MiB there and back", ("",), [("numpy is not installed here: `make bench` brings it",)])
    array = np.arange(SIZE // 8, dtype="int64")
    raw, fresh = Echo(fresh=False), Echo(fresh=True)
    kinds: list[type[Contender]] = [Floor, Skyward, Processes, Loky, Execnet] + ([] if quick else [Ray])
    running = {kind.name: kind() for kind in kinds if not kind.missing()}
    try:
        for contender in running.values():
            warm(contender)
        actions: dict[str, Callable[[], object]] = {
            "raw Unix socket": lambda: raw.back(memoryview(array).cast("B")),
            "raw, into new memory": lambda: fresh.back(memoryview(array).cast("B")),
        }
        for name, contender in running.items():
            value = array.tobytes() if isinstance(contender, Execnet) else array
            actions[name] = functools.partial(contender.call, tasks.back, value)
        for action in actions.values():
            action()
        figures = interleaved({n: functools.partial(seconds, a) for n, a in actions.items()}, 3 if quick else 9)
    finally:
        raw.close()
        fresh.close()
        for contender in running.values():
            contender.close()
    taken = {name: statistics.median(times) for name, times in figures.items()}
    base = taken["raw Unix socket"]
    sides = _memory_of_skyward(array)
    rows = [
        (name, f"{2 * SIZE / 1e6 / time:,.0f}", ratio(base, time), *(sides if name == Skyward.name else ("", "")))
        for name, time in taken.items()
    ]
    columns = ("", "MB/s", "of the raw socket", "peak memory here", "on the node")
    raw_note = "raw Unix socket: the same bytes written, read to the end and written back, no pickle, no arrays"
    notes = [
        f"{raw_note}, always into the same memory; the second reads into new memory, as one who gives it away must.",
        "Peak memory: of a call that returns a new array of that size, in multiples of it; both arrays are counted.",
        "execnet takes bytes, not arrays. Ray keeps both in shared memory, and gives a view that cannot be written.",
    ]
    return Table("An array of 64 MiB there and back", columns, rows, notes)


def _memory_of_skyward(array: Any) -> tuple[str, str]:
    if not os.path.exists("/proc/self/clear_refs"):
        return "not on this system", "not on this system"
    contender = OneNode()
    try:
        here, there = memory(contender, array)
    finally:
        contender.close()
    return f"{here:.2f} x", f"{there:.2f} x"


if __name__ == "__main__":
    echo(socket.socket(fileno=int(sys.argv[1])), fresh="fresh" in sys.argv)
