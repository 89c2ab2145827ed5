"""The rig as fixtures. A conftest.py or a module of tests imports those that it uses, and the server behind them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .machines import BASE
from .rig import Rig

__all__ = ["aws", "aws_api", "rig_api_server", "rig_server"]


@pytest.fixture(scope="session")
def rig_server(require: Any) -> Iterator[Rig]:
    """One rig with machines for all tests."""
    command = ("podman", "run", "--rm", "--pull", "never", "--network", "none", BASE, "true")
    works = shutil.which("podman") and not subprocess.run(command, capture_output=True).returncode
    require(works, f"podman, and the image {BASE}, which scripts/ci-containers.sh makes")
    rig = Rig(options=("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN") if os.path.exists("/dev/fuse") else ())
    yield rig
    rig.close()


@pytest.fixture(scope="session")
def rig_api_server() -> Iterator[Rig]:
    """One rig without machines for all tests."""
    rig = Rig(machines=False)
    yield rig
    rig.close()


def _lent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in rig.environment.items():
        monkeypatch.setenv(name, value)
    rig.reset()
    yield rig
    problems = rig.problems
    rig.reset()
    assert not problems


@pytest.fixture
def aws(rig_server: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """AWS with machines, empty, and the environment by which boto3 finds it."""
    yield from _lent(rig_server, monkeypatch)


@pytest.fixture
def aws_api(rig_api_server: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """AWS without machines, empty, and the environment by which boto3 finds it. Needs no podman."""
    yield from _lent(rig_api_server, monkeypatch)
