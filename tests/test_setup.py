"""The setup script finds what there is, fetches what there is not, and else says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ["awk", "cat", "dirname", "env", "mkdir", "sed", "sh", "tail"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with no more than the script needs to start."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    shutil.copy(ROOT / ".python-version", folder)
    return folder


@pytest.fixture
def bare(tmp_path: Path, clean_environ: dict[str, str]) -> dict[str, str]:
    """A machine whose PATH has a shell's usual tools and neither Python nor uv."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        path = shutil.which(name)
        assert path, name
        (tools / name).symlink_to(path)
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: value for name, value in clean_environ.items() if not name.startswith(("PIP_", "UV_", "PYENV_", "XDG_"))
    }
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    return {**kept, **offline, "PATH": str(tools), "HOME": str(home), "UV_CACHE_DIR": str(tmp_path / "cache")}


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def setup(project: Path, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(project / "scripts" / "setup.sh"), *arguments]
    return subprocess.run(command, env=environ, cwd=project.parent, capture_output=True, text=True, check=False)


def test_without_python_and_uv_the_message_says_what_to_install(project: Path, bare: dict[str, str]) -> None:
    done = setup(project, bare)
    assert done.returncode == 1
    assert "it could not be installed" in done.stderr
    assert "install a Python 3 with pip" in done.stderr
    assert "SSL_CERT_FILE" in done.stderr
    assert not (project / ".venv").exists()


def test_an_index_that_cannot_be_reached_is_reported_in_the_words_of_pip(project: Path, bare: dict[str, str]) -> None:
    program(Path(bare["PATH"]), "python3", 'case "$*" in *pip*) echo "no route to the index" >&2; exit 1;; esac')
    done = setup(project, bare)
    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr


def test_without_a_python_that_is_new_enough_the_message_says_what_to_install(
    project: Path, bare: dict[str, str], uv: str
) -> None:
    (Path(bare["PATH"]) / "uv").symlink_to(uv)
    offline = {"UV_OFFLINE": "1", "UV_PYTHON_INSTALL_DIR": str(project / "none")}
    done = setup(project, {**bare, **offline})
    assert done.returncode == 1
    assert "no Python 3.12 or newer" in done.stderr
    assert "pyenv install 3.13" in done.stderr
    assert not (project / ".venv").exists()


def test_a_program_that_is_called_python_but_does_not_run_is_passed_over(project: Path, bare: dict[str, str]) -> None:
    tools = Path(bare["PATH"])
    program(tools, "python3.13", 'echo "pyenv: python3.13: command not found" >&2; exit 127')
    (tools / "python3").symlink_to(sys.executable)
    done = setup(project, bare, "--print-python")
    found = Path(done.stdout.strip())
    assert found.samefile(getattr(sys, "_base_executable", sys.executable))


def test_pythons_of_pyenv_are_found_without_its_shims_and_the_projects_minor_goes_first(
    project: Path, bare: dict[str, str]
) -> None:
    for version in ("3.11.9", "3.12.8", "3.13.1", "3.14.0"):
        folder = project.parent / "pyenv" / "versions" / version / "bin"
        folder.mkdir(parents=True)
        program(folder, "python", f"echo {version}")
    done = setup(project, {**bare, "PYENV_ROOT": str(project.parent / "pyenv")}, "--print-python")
    assert done.stdout == "3.13.1\n"


def test_a_uv_that_is_too_old_is_not_taken(project: Path, bare: dict[str, str]) -> None:
    program(Path(bare["PATH"]), "uv", "echo uv 0.4.30")
    done = setup(project, bare, "--print-uv")
    assert done.returncode == 1
    assert "no uv 0.8 or newer" in done.stderr


def test_a_uv_on_the_path_is_taken_and_nothing_is_installed(project: Path, bare: dict[str, str]) -> None:
    program(Path(bare["PATH"]), "uv", "echo uv 1.2.3")
    done = setup(project, bare, "--print-uv")
    assert done.stdout == f"{bare['PATH']}/uv\n"
    assert not (project / ".tools").exists()
