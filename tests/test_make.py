"""The README's commands work in a fresh clone, for a user with next to nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, require: Any) -> Path:
    """What is committed, and nothing else."""
    require.command("git")
    require.command("make")
    require((ROOT / ".git").exists(), "a checkout with its history")
    folder = tmp_path_factory.mktemp("fresh") / "skyward"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def newcomer(
    clean_environ: dict[str, str], uv: str, tmp_path_factory: pytest.TempPathFactory, clone: Path
) -> dict[str, str]:
    """An empty home directory and the system's own PATH; uv's cache is kept, to spare the index."""
    home = Path.home()
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    kept = {
        "PYENV_ROOT": os.environ.get("PYENV_ROOT", str(home / ".pyenv")),
        "UV_CACHE_DIR": cache,
        "XDG_CACHE_HOME": str(clone / ".cache"),
    }
    for settings in (home / ".config/pip/pip.conf", home / ".pip/pip.conf"):
        if settings.is_file():
            kept["PIP_CONFIG_FILE"] = str(settings)
    path = ":".join(folder for folder in ("/usr/local/bin", "/usr/bin", "/bin") if Path(folder).is_dir())
    return {**clean_environ, **kept, "PATH": path, "HOME": str(tmp_path_factory.mktemp("home"))}


def make(target: str, clone: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(["make", target], cwd=clone, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_help_names_every_target(clone: Path, newcomer: dict[str, str]) -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert re.findall(r"^  make (\S+)", make("help", clone, newcomer), re.MULTILINE) == targets


def test_setup_brings_uv_and_an_environment_and_leaves_the_home_directory_alone(
    clone: Path, newcomer: dict[str, str]
) -> None:
    make("setup", clone, newcomer)
    assert (clone / ".venv/bin/python").exists()
    assert shutil.which("uv", path=newcomer["PATH"]) or (clone / ".tools/uv/bin/uv").exists()
    assert not list(Path(newcomer["HOME"]).iterdir())


def test_demo_runs_and_git_sees_nothing_new(clone: Path, newcomer: dict[str, str]) -> None:
    make("demo", clone, newcomer)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not status.stdout
