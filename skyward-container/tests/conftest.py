"""Containers for the tests, on a real engine; and programs that only look like one."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward_container import Container

BASE = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need real containers."""
    for item in items:
        if {"base", "podman"} & set(getattr(item, "fixturenames", ())) and Path(__file__).parent in item.path.parents:
            item.add_marker("containers")


@pytest.fixture(scope="session")
def base(require: Any) -> str:
    """An image to make nodes of. Skips where containers cannot be run, and fails in CI."""
    command = ("podman", "run", "--rm", "--pull", "never", "--network", "none", BASE, "true")
    works = shutil.which("podman") and not subprocess.run(command, capture_output=True).returncode
    require(works, f"podman, and the image {BASE}, which scripts/ci-containers.sh makes")
    return BASE


@pytest.fixture(scope="session")
def podman(base: str) -> Callable[..., str]:
    """Asks podman, and returns what it says."""

    def ask(*arguments: str) -> str:
        done = subprocess.run(("podman", *arguments), capture_output=True, text=True)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
            error.add_note(f"podman said: {done.stderr}")  # of which the error itself tells nothing
            raise error
        return done.stdout

    return ask


@pytest.fixture(scope="session")
def provider(base: str) -> Container:
    return Container(image=base, binary="podman")


@pytest.fixture
def left(
    podman: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], list[str]]]:
    """Names of the containers and networks of the test's own pools; there must be none at its end.

    They are told from those of other programs by their owner: the test goes by a name of its own, and so do the clients
    that it starts. Their ledgers are the test's own as well: one that is left would have `skyward reap` look for
    machines at an engine that only looked like one.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    name = f"tester-{secrets.token_hex(5)}"
    monkeypatch.setenv("LOGNAME", name)
    mine = ("--filter", f"label=skyward.owner={name}@{socket.gethostname()}", "--format")

    def found() -> list[str]:
        networks = podman("network", "ls", *mine, "{{.Name}}").split()
        return sorted((*podman("ps", "--all", *mine, "{{.Names}}").split(), *networks))

    yield found
    after = found()
    for each in after:
        subprocess.run(("podman", "rm", "--force", each), capture_output=True)
        subprocess.run(("podman", "network", "rm", each), capture_output=True)
    assert not after


@pytest.fixture
def pool(provider: Container, left: Any) -> Callable[..., sky.ComputePool]:
    """Makes pools of containers that are gone at the end."""

    def make(**options: Any) -> sky.ComputePool:
        return sky.ComputePool(**{"provider": provider, "display": "quiet", **options})

    return make


@pytest.fixture
def flaky(tmp_path: Path, base: str) -> Callable[[str], Container]:
    """Makes providers whose engine fails where shell text says so; "$1" is the command."""

    def make(text: str) -> Container:
        program = tmp_path / "podman"
        program.write_text(f'#!/bin/sh\nfolder={tmp_path}\n{text}\nexec {shutil.which("podman")} "$@"\n')
        program.chmod(0o755)
        return Container(image=base, binary=str(program))

    return make


PATIENCE = 150.0
"""Seconds that a test waits for what must come; far more than it takes on a machine that has nothing else to do."""


class Story:
    """All events of a pool, to which it is given as ``on_event``."""

    patience = PATIENCE

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = threading.Condition()

    def __call__(self, event: object) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind until now."""
        with self._more:
            return [event for event in self.events if isinstance(event, kind)]

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait until ``found`` finds something, in these events as a rule, and return that."""
        end = time.monotonic() + PATIENCE
        with self._more:
            while not (what := found()):
                assert time.monotonic() < end, [each for each in self.events if type(each) is not sky.Metrics]
                self._more.wait(0.1)
        return what

    def said(self, line: str) -> list[str]:
        """The machines on which a line was printed, in order."""
        return [event.instance_id for event in self.of(sky.LogLine) if event.line == line]

    def machine(self, name: str, times: int = 1) -> str:
        """Wait until a task has begun so often; the container in which it did last."""
        began: list[str] = self.until(lambda: (begun := self.said(f"{name} begun"))[times - 1 :] and begun)
        return began[-1]


@pytest.fixture
def story() -> Story:
    """What a pool tells."""
    return Story()


@pytest.fixture
def waiting() -> Callable[..., Any]:
    """Makes tasks that note each of their runs on their machine, say so, and end once they are let, with `let_end`.

    They return how often they have run on that machine.
    """

    def make(**options: Any) -> Any:
        def wait(name: str) -> int:
            import time
            from pathlib import Path

            runs = Path(f"/root/{name}.runs")
            with runs.open("a") as file:
                file.write("x")
            print(name, "begun")
            while not Path(f"/root/{name}.go").exists():
                time.sleep(0.01)
            print(name, "ends")
            return len(runs.read_text())

        return sky.compute(**options)(wait)

    return make


@pytest.fixture
def let_end(podman: Callable[..., str]) -> Callable[[str, str], None]:
    """Lets a task of `waiting` end, by machine and name."""

    def let(machine: str, name: str) -> None:
        podman("exec", machine, "touch", f"/root/{name}.go")

    return let


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead connection is noticed, and an attempt at a new one given up, in a fraction of the time."""
    from skyward._ssh import connect, pulse

    monkeypatch.setattr(connect, "INTERVAL", 0.5)
    monkeypatch.setattr(pulse, "INTERVAL", 0.5)
    monkeypatch.setattr(pulse, "_LOOK", 0.25)
    monkeypatch.setattr(connect, "_CONNECT_TIMEOUT", 4.0)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Makes programs of shell text, which are the only engines on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, text: str) -> str:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make
