"""Finding uv, which builds environments: where the user has it, else a copy of our own in the cache."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from skyward._cache import building, cache_folder, scratch_folder
from skyward._command import run_command
from skyward.errors import BootstrapError

__all__ = ["base_python", "find_uv"]


def base_python() -> str:
    """The interpreter under this one: the same outside of a virtual environment, its base inside of one."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _installed() -> Iterator[Path]:
    if found := shutil.which("uv"):
        yield Path(found)
    # An environment that is used without being activated, then the folders of uv's own installer.
    yield Path(sysconfig.get_path("scripts"), "uv")
    with contextlib.suppress(RuntimeError):  # no home
        yield Path.home() / ".local" / "bin" / "uv"


async def find_uv() -> Path:
    """The path of a uv: from PATH, this environment, ``~/.local/bin`` or the cache, else put there by pip.

    Raises ``BootstrapError`` with phase ``uv`` when there is none and pip cannot bring one.
    """
    for candidate in _installed():
        if os.access(candidate, os.X_OK):
            return candidate
    entry = cache_folder("uv") / "current"
    cached = entry / "bin" / "uv"
    if not cached.exists():
        async with building(entry):
            if not cached.exists():
                await _install(entry)
    return cached


async def _install(entry: Path) -> None:
    folder = scratch_folder(entry.parent, "new-")
    attempts: list[tuple[str, str]] = []
    try:
        for python in dict.fromkeys((sys.executable, base_python())):
            command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--target", str(folder), "uv"]
            code, output = await run_command(command, env=os.environ, cwd=folder)
            if code == 0:
                folder.rename(entry)
                return
            attempts.append((shlex.join(command), output))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # The last attempt is the base interpreter's, the one that is likelier to have a pip.
    command_line, output = attempts[-1]
    raise BootstrapError(
        "an image with pip packages needs uv, which is not installed, and pip could not bring it: install it"
        " (pip install uv, or see https://docs.astral.sh/uv/getting-started/installation) and put it on PATH\n"
        + output.strip(),
        phase="uv",
        command=command_line,
        output=output,
    )
