"""What the tests that cross packages share: the repository, uv, and the built wheels."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Member(NamedTuple):
    """A package of the workspace."""

    name: str
    folder: Path
    project: dict[str, object]

    @property
    def import_name(self) -> str:
        return "skyward" if self.name == "skyward-core" else self.name.replace("-", "_")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def members() -> list[Member]:
    """Every package but the root, ordered by name."""
    found = []
    for path in sorted(ROOT.glob("skyward-*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        found.append(Member(project["name"], path.parent, project))
    return found


@pytest.fixture(scope="session")
def uv() -> str:
    """The uv that the Makefile uses."""
    command = ["sh", "scripts/setup.sh", "--print-uv"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def clean_environ() -> dict[str, str]:
    """This environment without what a test run, a virtual environment or a coverage measurement put into it."""
    own = ("COVERAGE_", "PYTEST_", "PYTHON", "SKYWARD_", "UV_PROJECT", "VIRTUAL_ENV", "COV_", "MAKE", "MFLAGS", "ARGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


@pytest.fixture(scope="session")
def wheels(uv: str, clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every package's wheel, built once from its sdist: distribution name -> path."""
    # A name that no other run has: uv keeps what it has installed from a folder of wheels, and does not look again.
    out = tmp_path_factory.mktemp(f"wheels-{uuid.uuid4().hex}-")
    command = [uv, "build", "--all-packages", "--no-sources", "--out-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name.split("-")[0].replace("_", "-"): path for path in out.glob("*.whl")}


@pytest.fixture
def run_example() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_example("hello", "--nodes", "2")`` runs that program with the plugins that are installed."""

    def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if key != "SKYWARD_DISABLE_PLUGINS"}
        command = [sys.executable, f"examples/{name}.py", *options]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    return run
