"""Pools with real nodes, one provider at a time, and what the tests need to meet a task while it runs.

Functions that are sent to nodes are defined inside the tests and fixtures, so that they travel by value: a node needs
neither these modules nor pytest.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import skyward as sky
from skyward_container import Container

PROVIDERS = [
    sky.Local(),
    Container(image=os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin"), binary="podman"),
]


@pytest.fixture(scope="session", params=PROVIDERS, ids=lambda value: value.name)
def provider(request: pytest.FixtureRequest, require: Any) -> Any:
    """Where the nodes come from; each test runs once for each provider."""
    if isinstance(request.param, Container):
        image = str(request.param.image)
        command = ("podman", "run", "--rm", "--pull", "never", "--network", "none", image, "true")
        works = shutil.which("podman") and not subprocess.run(command, capture_output=True, check=False).returncode
        require(works, f"podman, and the image {image}, which scripts/ci-containers.sh makes")
    return request.param


@pytest.fixture(scope="session")
def provider_source(provider: Any) -> str:
    """The provider as it is written in a program that has ``import skyward as sky``, and no plugins."""
    module = "sky" if isinstance(provider, sky.Local) else f"__import__({type(provider).__module__.split('.')[0]!r})"
    return f"{module}.{provider!r}"


def _open(pool: sky.ComputePool) -> Iterator[sky.ComputePool]:
    """Enter a pool without making it the current one of the tests."""
    context = contextvars.copy_context()
    context.run(pool.__enter__)
    try:
        yield pool
    finally:
        context.run(pool.__exit__, None, None, None)


@pytest.fixture(scope="session")
def image(provider: Any) -> sky.Image:
    """What the tests use on a node: these are there already where it has the environment of the tests."""
    return sky.Image(pip=[] if isinstance(provider, sky.Local) else ["numpy", "tqdm"])


@pytest.fixture(scope="session")
def pool(provider: Any, image: sky.Image) -> Iterator[sky.ComputePool]:
    """Two nodes with one slot each."""
    yield from _open(sky.ComputePool(provider, nodes=2, image=image, display="quiet", lease=60.0))


@pytest.fixture(scope="session")
def roomy(provider: Any, image: sky.Image) -> Iterator[sky.ComputePool]:
    """One node with two slots, whose tasks share its files."""
    yield from _open(sky.ComputePool(provider, concurrency=2, image=image, display="quiet", lease=60.0))


class Recorder:
    """Keeps the events that it is called with, and waits for one that is to come."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def of(self, *kinds: type) -> list[Any]:
        """The events of some classes so far."""
        with self._changed:
            return [event for event in self.events if isinstance(event, kinds)]

    def wait(self, fits: Callable[[Any], bool]) -> Any:
        """The first event that fits, now or later."""
        with self._changed:
            found = self._changed.wait_for(lambda: next((e for e in self.events if fits(e)), None), timeout=60)
        assert found is not None, f"no such event came; there were {self.events}"
        return found

    def line(self, text: str) -> Any:
        """The log line with this text, now or later."""
        return self.wait(lambda event: isinstance(event, sky.LogLine) and event.line == text)

    def end(self, name: str) -> Any:
        """The end of the task with this name, now or later: a call that is cancelled does not wait for it."""
        return self.wait(lambda event: isinstance(event, sky.TaskCompleted) and event.name == name)


@pytest.fixture
def recorder() -> Recorder:
    """Called with events, it keeps them."""
    return Recorder()


@pytest.fixture
def listen() -> Iterator[Callable[[sky.ComputePool], Recorder]]:
    """Gives a recorder of what a pool says from now to the end of the test."""
    ends: list[Callable[[], None]] = []

    def start(pool: sky.ComputePool) -> Recorder:
        recorder = Recorder()
        ends.append(pool.events.subscribe(recorder))
        return recorder

    yield start
    for end in ends:
        end()


@pytest.fixture
def gate() -> Iterator[Any]:
    """``gate.wait()`` in a task returns once ``gate.open()`` was called in another task on the same node."""
    path = f"/tmp/skyward-gate-{uuid.uuid4().hex}"

    def make() -> None:
        import contextlib
        import os

        with contextlib.suppress(FileExistsError):
            os.mkfifo(path)

    def wait() -> None:
        import os

        make()
        with open(path, "rb") as file:
            file.read()
        os.unlink(path)

    def open_() -> None:
        make()
        with open(path, "wb"):
            pass

    yield SimpleNamespace(wait=wait, open=open_)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@pytest.fixture
def start(tmp_path: Path, provider_source: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program of its own, with ``PROVIDER`` in it replaced by the provider, beside the modules in ``files``."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *, env: dict[str, str] | None = None, **files: str) -> subprocess.Popen[str]:
        for name, text in files.items():
            path = tmp_path / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        main = tmp_path / "main_script.py"
        main.write_text(textwrap.dedent(source).replace("PROVIDER", provider_source))
        program = subprocess.Popen(
            [sys.executable, str(main)],
            cwd=tempfile.gettempdir(),  # so that the modules are found by the program's folder alone
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        if program.poll() is None:
            program.kill()
        program.communicate()


@pytest.fixture
def script(start: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As ``start``, and wait for the program's end, which must be a good one unless ``check`` is false."""

    def run(source: str, *, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        program = start(source, **options)
        output, errors = program.communicate(timeout=300)
        assert not check or program.returncode == 0, errors
        return subprocess.CompletedProcess(program.args, program.returncode, output, errors)

    return run


@pytest.fixture(scope="session")
def double() -> sky.ComputeFunction[[int], int]:
    """The simplest task."""

    @sky.compute
    def double(x: int) -> int:
        return 2 * x

    return double


@pytest.fixture(scope="session")
def fail() -> sky.ComputeFunction[[str], None]:
    """Raises ``ValueError`` with the given text."""

    @sky.compute
    def fail(text: str) -> None:
        raise ValueError(text)

    return fail


@pytest.fixture(scope="session")
def where() -> sky.ComputeFunction[[], tuple[int, int]]:
    """The node and the slot that it runs on."""

    @sky.compute
    def where() -> tuple[int, int]:
        info = sky.instance_info()
        return info.node, info.worker

    return where
