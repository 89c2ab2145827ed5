"""Containers: from entering the block to a result of every node, and out again, with one node and with four.

Beside them stands the least that it takes: as many bare ``podman run`` at once, and as many bare logins over SSH. What
the machine's processors do meanwhile is counted for all of them, since four nodes share the same few.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._measure import Table, duration, interleaved, ratio, seconds
from benchmarks._ssh_roads import bare_login

BASE = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")
SHARED = Path(__file__).resolve().parent.parent / "skyward-core" / "tests"
"""Where the SSH server is that the tests use."""
COUNTS = (1, 4)
FIRST, NEXT = "skyward, first pool of a program", "skyward, its next pool"
RUN, LOGIN = "podman run", "asyncssh login"
TITLE = "Containers: from entering the block to a result of every node"

type Figures = dict[str, Any]
"""Of one pool: seconds from entering to each event, to the first result, and of leaving; and of the processors."""


def busy() -> float:
    """Seconds that the processors of this machine have worked, on whatever, since it was started."""
    with open("/proc/stat", encoding="ascii") as file:
        words = file.readline().split()[1:9]
    user, nice, system, _idle, _waiting, interrupts, soft, _stolen = (int(word) for word in words)
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def main(nodes: int, pools: int) -> None:
    """A program that enters so many pools one after another, and prints the figures of each as a line of JSON."""
    import skyward as sky
    from skyward_container import Container

    @sky.compute
    def answer(x: int) -> int:
        return x + 1

    for _ in range(pools):
        events: dict[str, float] = {}

        def note(event: Any, events: dict[str, float] = events) -> None:
            name = type(event).__name__
            if name == "BootstrapPhase" and event.state == "completed":
                events[f"phase {event.step}"] = time.perf_counter()
            elif name in EVENTS:
                events[name] = time.perf_counter()

        worked, begun = busy(), time.perf_counter()
        pool = sky.ComputePool(Container(image=BASE, binary="podman"), nodes=nodes, display="quiet")
        pool.events.subscribe(note)
        with pool:
            assert answer(1) @ pool == (2,) * nodes
            there, used = time.perf_counter(), busy() - worked
        left = time.perf_counter()
        said = {name: moment - begun for name, moment in events.items()}
        print(json.dumps({"events": said, "first": there - begun, "leave": left - there, "busy": used}), flush=True)


EVENTS = {
    "ClusterProvisioned": "the engine has answered",
    "InstanceLaunched": "the containers are started",
    "InstanceRunning": "and known to run",
    "phase uv": "logged in, and the script runs",
    "phase deps": "what the image holds is kept",
    "phase skyward": "skyward is unpacked",
    "phase volumes": "the script is through",
    "InstanceBootstrapped": "the supervisor listens",
    "NodeReady": "the slots are up",
}
"""What is told on the way, in its order."""


class Pools:
    """Programs with two pools each, and the figures that they printed."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self.first: list[Figures] = []
        self.next: list[Figures] = []

    def run(self) -> float:
        """One program."""
        command = [sys.executable, "-m", "benchmarks.containers", str(self._nodes), "2"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        first, later = map(json.loads, done.stdout.splitlines())
        self.first.append(first)
        self.next.append(later)
        return float(first["first"])


class Bare:
    """As many things at once as there are nodes, without skyward; what the processors did is kept."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self.busy: list[float] = []

    def run(self) -> float:
        """Do it, and return the seconds that it took."""
        worked = busy()
        taken = seconds(self._action)
        self.busy.append(busy() - worked)
        return taken


def _containers(network: str, count: int) -> None:
    """Start containers as the provider does, and wait until all run."""
    options = ["--detach", "--rm", "--pull", "never", "--network", network, "--publish", "127.0.0.1::22"]
    options += ["--label", f"skyward.benchmark={network}", "--stop-signal", "KILL", "--entrypoint", "sleep"]
    command = ["podman", "run", *options, BASE, "600"]
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    statuses = [process.wait() for process in started]
    assert not any(statuses)


def _remove(network: str) -> None:
    told = ["podman", "ps", "--all", "--quiet", "--filter", f"label=skyward.benchmark={network}"]
    names = subprocess.run(told, check=True, capture_output=True, text=True).stdout.split()
    if names:
        subprocess.run(["podman", "rm", "--force", *names], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def bare_network() -> Iterator[str]:
    """A network for bare containers, which goes with them."""
    network = f"benchmark-{secrets.token_hex(4)}"
    subprocess.run(["podman", "network", "create", network], check=True, stdout=subprocess.DEVNULL)
    try:
        yield network
    finally:
        _remove(network)
        subprocess.run(["podman", "network", "rm", network], check=True, stdout=subprocess.DEVNULL)


def logins(address: Any, count: int, at_once: int = 6) -> list[Any]:
    """Log in so many times with bare asyncssh, and return the loop and its connections, which are open."""

    async def one(turn: asyncio.Semaphore) -> Any:
        async with turn:
            return await bare_login(address)

    async def all_of_them() -> list[Any]:
        turn = asyncio.Semaphore(at_once)
        return await asyncio.gather(*(one(turn) for _ in range(count)))

    loop = asyncio.new_event_loop()
    return [loop, *loop.run_until_complete(all_of_them())]


def log_out(loop: asyncio.AbstractEventLoop, *connections: Any) -> None:
    """Close what `logins` has opened."""

    async def close() -> None:
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()

    loop.run_until_complete(close())
    loop.close()


def missing() -> str:
    """What is not there of what it takes; nothing if all is."""
    if shutil.which("podman") is None:
        return "podman is not installed here"
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode:
        return f"the image {BASE} is not here: scripts/ci-containers.sh makes it"
    sys.path.append(str(SHARED))
    from sshd_here import find_sshd

    return "" if find_sshd() else "sshd is not installed here: apt install openssh-server"


def measure(*, quick: bool) -> list[Table]:
    """All of them in one run."""
    if reason := missing():
        return [Table(TITLE, ("",), [(reason,)])]
    from sshd_here import Sshd

    pools = {count: Pools(count) for count in COUNTS}
    pools[1].run()  # makes the node image, and compiles what is imported
    pools[1] = Pools(1)
    with bare_network() as network, contextlib.ExitStack() as stack:
        server = Sshd()
        stack.callback(server.close)

        def log_in(count: int) -> None:
            log_out(*logins(server.address(), count))

        log_in(1)  # imports what it needs

        bare = {
            (name, count): Bare(functools.partial(action, count))
            for name, action in ((RUN, functools.partial(_containers, network)), (LOGIN, log_in))
            for count in COUNTS
        }

        def containers(count: int) -> float:
            try:
                return bare[RUN, count].run()
            finally:
                _remove(network)

        contenders: dict[str, Callable[[], float]] = {}
        for count in COUNTS:
            contenders[f"{RUN} {count}"] = functools.partial(containers, count)
            contenders[f"{LOGIN} {count}"] = bare[LOGIN, count].run
            contenders[f"{FIRST} {count}"] = pools[count].run
        figures = interleaved(contenders, 2 if quick else 7)
    taken: dict[str, list[tuple[float, float]]] = {
        name: [(statistics.median(figures[f"{name} {count}"]), _typical(bare[name, count].busy)) for count in COUNTS]
        for name in (RUN, LOGIN)
    }
    for name, of in ((FIRST, "first"), (NEXT, "next")):
        runs: list[list[Figures]] = [getattr(pools[count], of) for count in COUNTS]
        taken[name] = [(_of(each, "first"), _of(each, "busy")) for each in runs]
    further = COUNTS[1] - COUNTS[0]
    rows = [
        (name, *(duration(time) for time, _ in each), ratio(each[1][0], each[0][0]), *_processors(each, further))
        for name, each in taken.items()
    ]
    leaving = [_of(pools[count].first + pools[count].next, "leave") for count in COUNTS]
    rows.append(("skyward, leaving", *map(duration, leaving), "", "", ""))
    columns = ("", "one node", "four nodes", "to one", "processors, one node", "each further node")
    notes = [
        "podman run: bare containers with a network and a port, all at once.",
        "asyncssh login: bare connections to an SSH server of this machine, all at once, and their end.",
        "skyward: the image of the nodes is there already. A program's first pool imports what it needs as well.",
        f"Processors: what this machine's {os.cpu_count()} did meanwhile, in seconds of one of them, whoever did it.",
    ]
    return [Table(TITLE, columns, rows, notes), _steps(pools)]


def _processors(figures: list[tuple[float, float]], further: int) -> tuple[str, str]:
    (_, one), (_, all_of_them) = figures
    return duration(one), duration(max(all_of_them - one, 0) / further)


def _steps(pools: dict[int, Pools]) -> Table:
    """When the last node was how far, in the later pool of each program."""

    def of(count: int, name: str) -> float:
        return _typical([each["events"].get(name, 0.0) for each in pools[count].next])

    rows = [(said, *(duration(of(count, name)) for count in COUNTS)) for name, said in EVENTS.items()]
    rows.append(("every node has answered", *(duration(_of(pools[count].next, "first")) for count in COUNTS)))
    notes = ["A program's second pool, from entering; of four nodes the last one counts."]
    return Table("Containers: what the time goes into", ("", "one node", "four nodes"), rows, notes)


def _of(figures: list[Figures], name: str) -> float:
    return _typical([each[name] for each in figures])


def _typical(figures: list[float]) -> float:
    return statistics.median(figures)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
