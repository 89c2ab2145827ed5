"""Containers for the tests, on a real engine; and programs that only look like one."""

from __future__ import annotations

import os
import shutil
import subprocess
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
        return subprocess.run(("podman", *arguments), capture_output=True, text=True, check=True).stdout

    return ask


@pytest.fixture(scope="session")
def provider(base: str) -> Container:
    return Container(image=base, binary="podman")


@pytest.fixture
def left(podman: Callable[..., str]) -> Iterator[Callable[[], list[str]]]:
    """Names of the containers and networks that came since the test began; there must be none at its end."""

    def everything() -> set[str]:
        label = ("--filter", "label=skyward.pool", "--format")
        networks = podman("network", "ls", *label, "{{.Name}}").split()
        return {*podman("ps", "--all", *label, "{{.Names}}").split(), *networks}

    before = everything()

    def came() -> list[str]:
        return sorted(everything() - before)

    yield came
    after = came()
    for name in after:
        subprocess.run(("podman", "rm", "--force", name), capture_output=True)
        subprocess.run(("podman", "network", "rm", name), capture_output=True)
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
