"""Finding uv, which builds environments: where the user has it, else a copy of our own in the cache. And its words."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from skyward._cache import building, cache_folder, scratch_folder
from skyward._command import run_command
from skyward.errors import BootstrapError

__all__ = ["base_python", "find_uv", "unreached"]

_ASKED = re.compile(r"(?:failed to fetch: `?|error sending request for url \()(https?://[^\s`)]+)", re.IGNORECASE)
_SILENT = re.compile(
    r"dns error|tcp connect error|timed? ?out|unreachable|connection (?:refused|reset)|are you offline", re.IGNORECASE
)
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_TORCH_BACKEND")
_OF_TORCH = "pytorch.org"
"""Where the builds are that UV_TORCH_BACKEND chooses."""


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


def unreached(output: str, variables: Mapping[str, str]) -> str:
    """What to do where uv has failed because a host did not answer; empty where it failed otherwise.

    Args:
        output: what uv has said.
        variables: the environment in which it ran.
    """
    asked = _ASKED.search(output)
    if asked is None or not _SILENT.search(output):
        return ""
    host = urlsplit(asked[1]).netloc.rpartition("@")[2]
    if not host:
        return ""
    told = [name for name in _INDEXES if _leads_to(host, name, variables.get(name, ""))]
    if not told:
        return (
            f"{host} did not answer: let the machine reach it, or name a mirror or a proxy of it that the machine can "
            "reach (UV_DEFAULT_INDEX, HTTPS_PROXY)."
        )
    whose = "Image(pip_extra_index_url=...) and UV_INDEX have" if told == ["UV_INDEX"] else f"{told[0]} has"
    of_torch = "; an integration that brings PyTorch sets it by its wheels=, where 'pypi' needs no index but your own"
    other = of_torch if told[0] == "UV_TORCH_BACKEND" else ""
    return (
        f"{host} did not answer, where {whose} uv look for packages: let the machine reach it, or have another index "
        f"looked at{other}."
    )


def _leads_to(host: str, name: str, value: str) -> bool:
    if name == "UV_TORCH_BACKEND":
        return bool(value) and host.endswith(_OF_TORCH)
    return f"/{host}/" in f"{value}/" or f"@{host}/" in f"{value}/"
