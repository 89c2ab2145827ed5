"""Where uv comes from, and how its runs are told."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from skyward import _uv
from skyward._command import run_command
from skyward._uv import find_uv
from skyward.errors import BootstrapError


@pytest.fixture
def no_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without uv; returns the Python that stands for its interpreter, which has to be written yet."""
    monkeypatch.setattr(_uv, "_installed", lambda: iter(()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    python = tmp_path / "python"
    monkeypatch.setattr(_uv, "base_python", lambda: str(python))
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_without_uv_pip_puts_one_into_the_cache_once(no_uv: Path, tmp_path: Path) -> None:
    no_uv.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/pips\nwhile [ "$1" != --target ]; do shift; done\n'
        'mkdir "$2/bin"; touch "$2/bin/uv"\n'
    )
    no_uv.chmod(0o755)

    async def find_twice() -> list[Path]:
        return [*await asyncio.gather(find_uv(), find_uv()), await find_uv()]

    assert set(asyncio.run(find_twice())) == {tmp_path / "cache" / "skyward" / "uv" / "current" / "bin" / "uv"}
    assert len((tmp_path / "pips").read_text().splitlines()) == 1


def test_without_uv_and_pip_the_error_says_how_to_get_it(no_uv: Path, tmp_path: Path) -> None:
    no_uv.write_text("#!/bin/sh\necho No module named pip; exit 1\n")
    no_uv.chmod(0o755)
    with pytest.raises(BootstrapError, match="pip install uv") as caught:
        asyncio.run(find_uv())
    assert caught.value.phase == "uv"
    assert "No module named pip" in caught.value.output
    assert [path for path in (tmp_path / "cache" / "skyward" / "uv").iterdir() if path.is_dir()] == []


def test_uv_is_found_on_path_and_beside_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(find_uv()) == program
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    assert asyncio.run(find_uv()) == program


def test_a_program_killed_by_a_signal_is_told_by_its_status(tmp_path: Path) -> None:
    done = asyncio.run(run_command(["sh", "-c", "echo bye; kill -TERM $$"], env=os.environ, cwd=tmp_path))
    assert done.code == 143
    assert done.output.startswith("bye\n")
