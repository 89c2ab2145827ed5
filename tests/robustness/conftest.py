"""Clients in processes of their own, and what they must not leave behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sshd_here import make_sshd as make_sshd
from sshd_here import ssh_root as ssh_root
from sshd_here import sshd as sshd
from sshd_here import sshd_path as sshd_path
from tcp_relay import make_relay as make_relay

import skyward as sky

from .behind import behind as behind

_MARK = "SKYWARD_TEST_MARK"
PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


def marked(mark: str) -> list[int]:
    """Living processes, except this one, that were started with the mark in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if f"{_MARK}={mark}".encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
            except OSError:
                continue
    return found


def wait_for_exit(pid: int, seconds: float = PATIENCE) -> bool:
    """Wait until a process has ended; False when it has not by then."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Ask again and again, for what nothing announces; returns the first true answer."""
    limit = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < limit, f"it did not come true within {seconds:g} s"
        time.sleep(0.005)
    return answer


def kill(pids: Iterable[int]) -> None:
    """Kill those of these processes that have not ended meanwhile."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Home:
    """A place of its own for temporary files, state and caches, and a mark on every process that begins there."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self.path = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
        self.temporary = self.path / "t"
        self.temporary.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            _MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "XDG_STATE_HOME": str(self.path / "state"),
        }

    def processes(self) -> list[int]:
        return marked(self.mark)

    def all_ended(self, seconds: float = PATIENCE) -> bool:
        """Whether every process of this home ends within the time."""
        limit = time.monotonic() + seconds
        while pids := self.processes():
            for pid in pids:
                if not wait_for_exit(pid, limit - time.monotonic()):
                    return False
            if time.monotonic() > limit:
                return False
        return True

    def files(self) -> list[str]:
        """Names of what lies among the temporary files."""
        return sorted(os.listdir(self.temporary))

    def ledgers(self) -> list[str]:
        folder = self.path / "state" / "skyward" / "pools"
        return sorted(os.listdir(folder)) if folder.exists() else []

    def close(self) -> None:
        kill(self.processes())
        shutil.rmtree(self.path, ignore_errors=True)


class Client:
    """A program that uses skyward, in a process of its own.

    It runs ``script`` with ``sky`` imported, and with ``say(text)``, which writes a line that `hear` waits for.
    """

    def __init__(self, home: Home, script: str, **environment: str) -> None:
        program = (
            "import os, sys, time, signal, threading\n"
            "import skyward as sky\n"
            "def say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())\n"
            "def pool(**options): return sky.ComputePool(**{'display': 'quiet', 'lease': 4.0, **options})\n"
        ) + textwrap.dedent(script)
        self._home = home
        path = home.path / f"client-{secrets.token_hex(3)}.py"
        path.write_text(program)
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            env={**home.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.errors: list[str] = []
        self._lines: list[str] = []
        self._come = threading.Condition()
        self._ended = False
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._collect)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._come:
                self._lines.append(line.strip())
                self._come.notify_all()
        with self._come:
            self._ended = True
            self._come.notify_all()

    def _collect(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    @property
    def heard(self) -> list[str]:
        return list(self._lines)

    def hear(self, start: str, seconds: float = PATIENCE) -> str:
        """Wait for a line that begins so, and return the rest of it."""
        with self._come:
            assert self._come.wait_for(
                lambda: self._ended or any(line.startswith(start) for line in self._lines), seconds
            )
            for line in self._lines:
                if line.startswith(start):
                    return line[len(start) :].strip()
        self.end()
        raise AssertionError(f"the client ended without saying {start!r}: {''.join(self.errors)}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end and return its status."""
        status = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return status

    def close(self) -> None:
        kill(self._home.processes())
        self.end()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def home() -> Iterator[Home]:
    """A home that is removed, with its processes, after the test."""
    made = Home()
    yield made
    made.close()


@pytest.fixture
def client(home: Home) -> Iterator[Callable[..., Client]]:
    """Starts programs in the home."""
    made: list[Client] = []

    def start(script: str, **environment: str) -> Client:
        made.append(Client(home, script, **environment))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def at_home(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home, for pools of this very process."""
    tmp_path_factory.getbasetemp()  # pytest's own folder is elsewhere
    for name, value in home.environment.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(home.temporary))
    return home


@pytest.fixture
def small() -> Callable[..., sky.ComputePool]:
    """Makes quiet pools that end soon without their client."""

    def make(**options: Any) -> sky.ComputePool:
        return sky.ComputePool(**{"display": "quiet", "lease": 10.0, **options})

    return make
