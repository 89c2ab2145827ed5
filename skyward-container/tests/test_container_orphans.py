"""Clients that are killed at every stage, and clients that are interrupted: no container is left, whatever they knew.

The engine's commands of such a client go through a program that notes them, and holds one of them until the test lets
it go on: so a container may be started, or half started, after its client's death.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

type Podman = Callable[..., str]

LEASE = 2
PATIENCE = 120.0

_PROGRAM = """\
#!/bin/sh
for word; do [ "${{before:-}}" != --name ] || name=$word; before=$word; done
printf '%s\\n' "$1 ${{name:-}}" >>{folder}/commands
if [ -n "{hold}" ] && case "$*" in {hold}*) mkdir {folder}/held 2>/dev/null ;; *) false ;; esac; then
    while [ ! -e {folder}/go ]; do sleep 0.05; done
    {podman} "$@"
    status=$?
    echo $status >{folder}/done.new
    mv {folder}/done.new {folder}/done
    exit $status
fi
exec {podman} "$@"
"""

_CLIENT = """\
import os, sys, time
import skyward as sky
from skyward_container import Container
pool = sky.ComputePool(Container(image={base!r}, binary={binary!r}), display='quiet', **{options!r})
def say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())
"""

RUNNING = """
@sky.compute
def wait(): print('begun'); time.sleep(1000)
pool.on(sky.LogLine, lambda _: say('now'))
with pool: wait() >> pool
"""

BUILDING = """
from skyward_container import _image
text = _image._text
_image._text = lambda name: f'# {os.getpid()} {time.time()}\\nsleep 1000\\n' if name == 'recipe.sh' else text(name)
with pool: pass
"""


class Client:
    """A program with a pool, in a process of its own; ``hold`` is how the engine's command begins that is held."""

    def __init__(self, folder: Path, base: str, block: str, hold: str = "", **options: Any) -> None:
        folder.mkdir()
        self.folder = folder
        self.state = folder / "state"
        binary = folder / "podman"
        binary.write_text(_PROGRAM.format(folder=folder, hold=hold.replace(" ", "\\ "), podman=shutil.which("podman")))
        binary.chmod(0o755)
        program = folder / "client.py"
        head = _CLIENT.format(base=base, binary=str(binary), options={"lease": LEASE, **options})
        program.write_text(head + textwrap.dedent(block))
        with open(folder / "errors", "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(program)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "XDG_STATE_HOME": str(self.state), "TMPDIR": str(folder)},
            )

    def commands(self) -> list[str]:
        """What the engine was asked for, and for containers of which name."""
        try:
            return (self.folder / "commands").read_text().splitlines()
        except FileNotFoundError:
            return []

    def containers(self) -> list[str]:
        """Names of the containers that were asked for."""
        return [name for command, _, name in (line.partition(" ") for line in self.commands()) if command == "run"]

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        while (said := self.process.stdout.readline()) != f"{line}\n":
            assert said, self.errors()

    def holds(self) -> None:
        """Wait until the command is held."""
        until(lambda: (self.folder / "held").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, (self.folder.name, self.commands(), self.errors())

    def errors(self) -> str:
        """What it wrote about its failures."""
        return (self.folder / "errors").read_text()

    def goes_on(self) -> None:
        (self.folder / "go").touch()

    def done(self) -> str:
        """How the command that was held has ended; empty until then."""
        try:
            return (self.folder / "done").read_text().strip()
        except FileNotFoundError:
            return ""

    def dies(self) -> None:
        """It is killed, and its disk is lost."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.state, ignore_errors=True)

    def close(self) -> None:
        self.goes_on()
        self.process.kill()
        self.process.communicate()


def until(condition: Callable[[], Any]) -> Any:
    """Ask again and again, for what nothing announces."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, "it did not come true"
        threading.Event().wait(0.05)
    return answer


@pytest.fixture
def client(base: str, tmp_path: Path, left: Any) -> Iterator[Callable[..., Client]]:
    """Starts clients. ``left`` comes first, so that what is left is looked at when they have ended."""
    started: list[Client] = []

    def start(name: str, *arguments: Any, **options: Any) -> Client:
        started.append(Client(tmp_path / name, base, *arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def there(podman: Podman) -> Callable[[], set[str]]:
    """Names of all containers, ended ones included."""
    return lambda: set(podman("ps", "--all", "--format", "{{.Names}}").split())


@pytest.mark.slow
def test_a_client_that_is_killed_at_any_stage_leaves_no_container_and_its_network_to_the_next_one(
    client: Any, there: Any, left: Any, pool: Any
) -> None:
    def entering(event: str) -> str:
        return f"pool.on(sky.{event}, lambda _: say('now')); pool.__enter__()"

    plain = "with pool: pass"
    told = {
        "booting": client("booting", entering("BootstrapStarting")),
        "bootstrapping": client("bootstrapping", entering("BootstrapPhase"), nodes=2),
        "running": client("running", RUNNING),
    }
    held = {
        "making the network": client("network", plain, "network create"),
        "launching": client("launching", plain, "run --detach"),
        "half of the launches done": client("half", plain, "run --detach", nodes=2),
        "tearing down": client("ending", plain, "rm --force"),
    }
    building = client("building", BUILDING)
    clients = {**told, **held, "making the image of the nodes": building}

    for each in held.values():
        each.holds()
    until(lambda: set(building.containers()) & there())
    for each in told.values():
        each.says("now")
    half = held["half of the launches done"]
    until(lambda: len(half.containers()) == 2)
    assert not set(held["launching"].containers()) & there()

    for each in clients.values():
        each.dies()
    for stage in ("making the network", "launching", "half of the launches done"):
        held[stage].goes_on()
        # It has come after its client's death, who is not there to read its name (128 + SIGPIPE).
        assert until(held[stage].done) in ("0", "141")

    end = time.monotonic() + LEASE + 10  # the promise
    while (now := there()) & {name for each in clients.values() for name in each.containers()}:
        lasting = [stage for stage, each in clients.items() if set(each.containers()) & now]
        assert time.monotonic() < end, f"containers are left of clients that died while {lasting}"
        threading.Event().wait(0.2)

    for each in held.values():
        each.goes_on()
    assert all(name.count("-") < 4 for name in left()), "networks alone are left"
    with pool():
        pass
    assert not left()


@pytest.mark.slow
def test_a_client_that_is_interrupted_at_any_stage_ends_in_order_and_leaves_nothing(client: Any, left: Any) -> None:
    plain = "with pool: pass"
    clients = {
        "launching": client("launching", plain, "run --detach", lease=600, nodes=2),
        "running": client("running", RUNNING, lease=600),
        "tearing down": client("ending", plain, "rm --force", lease=600),
    }
    for stage in ("launching", "tearing down"):
        clients[stage].holds()
    clients["running"].says("now")
    # Nothing holds this one, so it is the last to be begun and the first to be interrupted.
    begun = client("bootstrapping", "pool.on(sky.BootstrapPhase, lambda _: say('now'))\nwith pool: pass", lease=600)
    begun.says("now")
    clients = {"bootstrapping": begun, **clients}
    for each in clients.values():
        each.process.send_signal(signal.SIGINT)
    ending = clients["tearing down"]
    name = ending.containers()[0]
    until(lambda: f"still removing {name}" in ending.errors())
    ending.process.send_signal(signal.SIGINT)  # a second one is answered, too
    until(lambda: ending.errors().count(f"still removing {name}") == 2)
    for each in clients.values():
        each.goes_on()
    for stage, each in clients.items():
        assert each.process.wait(PATIENCE) == -signal.SIGINT, (stage, each.errors())
        assert "KeyboardInterrupt" in each.errors(), stage
    assert not left()
