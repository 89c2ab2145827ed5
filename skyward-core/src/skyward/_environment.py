"""Environments of nodes on this machine: what an image's ``pip`` asks for, built once and kept in the cache.

    envs/KEY/           its time of change tells the last use
    envs/KEY/ready      the name of the build that is whole, written last
    envs/KEY/BUILD/     a virtual environment; builds without ``ready`` are what a builder that died left behind
    envs/KEY.lock, .use who builds it, and who uses it

A build gets a folder of its own, for a virtual environment cannot be moved, and nothing that an earlier builder may
still be writing can then mix with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from skyward._cache import building, cache_folder, hold, prune, scratch_folder
from skyward._command import run_command
from skyward._uv import base_python, find_uv, unreached
from skyward.errors import BootstrapError
from skyward.model.image import Image, client_python
from skyward.model.redact import redact

__all__ = ["Report", "ensure_environment", "environment_key"]

type Report = Callable[[str, Literal["started", "completed"], float | None], None]
"""Called with a step, ``"started"`` or ``"completed"``, and with the seconds that it took when it is completed."""

_SHOWN_LINES = 30

# Settings of the client that would make uv act on another environment than the one that is named to it.
_MISLEADING = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_TARGET")

# The settings of uv that decide which versions come out: https://docs.astral.sh/uv/reference/environment/
_DECIDING = (
    "UV_BUILD_CONSTRAINT",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_INDEX",
    "UV_ONLY_BINARY",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
_NAMING_FILES = ("UV_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE")
"""Those of them that name files, separated by spaces, whose contents decide."""


async def ensure_environment(image: Image, *, extra: Sequence[str] = (), report: Report | None = None) -> Path:
    """The Python of an environment that holds ``image.pip`` and ``extra``; built first when there is none.

    However many processes ask at once, one builds and the others wait for it. Cancelled, or killed in the middle, it
    leaves no uv running and nothing that a later call would take for an environment. Its ``apt`` is not looked at.

    Raises ``BootstrapError`` whose phase is ``uv`` (none found) or ``deps`` (uv failed; its own words are in it).
    """
    variables = _variables(image)
    entry = cache_folder("envs") / environment_key(image, extra, variables)
    await hold(entry)
    begun = time.monotonic()
    if report is not None:
        report("deps", "started", None)
    python = _whole(entry)
    if python is None:
        async with building(entry):
            python = _whole(entry)
            if python is None:
                python = await _build(entry, image, [*image.pip, *extra], variables)
                prune(entry.parent)
    if report is not None:
        report("deps", "completed", time.monotonic() - begun)
    return python


def environment_key(image: Image, extra: Sequence[str], variables: Mapping[str, str]) -> str:
    """What the environment depends on, as a name: the image, ``extra``, this interpreter and uv's settings."""
    content = {
        "image": image.content_hash(),
        "extra": sorted(extra),
        "base": [os.path.realpath(base_python()), sys.version, sys.platform],
        "settings": {name: redact(variables[name]) for name in _DECIDING if name in variables},
        "files": [_digest(file) for name in _NAMING_FILES for file in variables.get(name, "").split()],
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _digest(file: str) -> str | None:
    try:
        return hashlib.blake2b(Path(file).read_bytes()).hexdigest()
    except OSError:  # a URL, or what uv will say more about
        return None


def _variables(image: Image) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    return image.install_variables(inherited) | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def _whole(entry: Path) -> Path | None:
    """The Python of the entry's finished build, marked as used now; ``None`` when there is none."""
    ready = entry / "ready"
    try:
        python = entry / ready.read_text() / "bin" / "python"
        if not python.exists():  # also when the interpreter that it points to was removed
            return None
        os.utime(entry)
    except FileNotFoundError:
        return None
    return python


async def _build(entry: Path, image: Image, requirements: Sequence[str], variables: Mapping[str, str]) -> Path:
    uv = str(await find_uv())
    build = _new_build(entry)
    python = build / "bin" / "python"
    # A file instead of arguments: uv fills in ${NAME} there, and the values never stand on a command line.
    listing = build / "requirements.txt"
    base = base_python() if image.python_minor == client_python() else image.python
    commands = (
        [uv, "venv", "--quiet", "--allow-existing", "--python", base, str(build)],
        [uv, "pip", "install", "--python", str(python), "--requirement", str(listing)],
    )
    try:
        listing.write_text("".join(f"{line}\n" for line in requirements))
        for command in commands:
            code, output = await run_command(command, env=variables, cwd=build)
            if code:
                raise _failure(command, code, output, image, variables)
        _write_whole(entry / "ready", build.name)
    except BaseException:
        shutil.rmtree(build, ignore_errors=True)
        raise
    return python


def _new_build(entry: Path) -> Path:
    entry.mkdir(mode=0o700, exist_ok=True)
    (entry / "ready").unlink(missing_ok=True)
    for leftover in entry.iterdir():
        shutil.rmtree(leftover, ignore_errors=True)
    return scratch_folder(entry, "build-")


def _write_whole(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".new")
    half.write_text(text)
    half.replace(path)


def _failure(
    command: Sequence[str], code: int, output: str, image: Image, variables: Mapping[str, str]
) -> BootstrapError:
    lines = redact(output, image.secrets).strip().splitlines()
    shown = "\n".join(lines[-_SHOWN_LINES:])
    line = redact(shlex.join(command), image.secrets)
    remedy = unreached(shown, variables) or "Check the names and versions in Image(pip=...) and the package index."
    return BootstrapError(
        f"the environment of the nodes could not be built: {line} ended with status {code}. {remedy}\n{shown}",
        phase="deps",
        command=line,
        output=shown,
    )
