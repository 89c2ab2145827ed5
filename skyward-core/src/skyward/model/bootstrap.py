"""An image as the shell script that makes a bare machine a node. Pure: text in, text out.

The script is plain POSIX sh and may be run again at any time. Each phase is guarded by a marker file that holds the
hash of what the phase did and is written when the phase is whole, so a second run does only what is missing or has
changed. What it reads from its environment:

``SKYWARD_ROOT``
    The folder of everything that it makes; ``/opt/skyward`` when unset. It holds ``bin``, ``venv``, ``payload``,
    ``volumes``, and ``payload.tar.gz``, which the client puts there before it runs the script.
``SKYWARD_PAYLOAD``
    Another folder for what the archive holds, on a disk that takes many small files more quickly. It must last as long
    as the rest does.
``SKYWARD_RUN``
    The folder of what must not outlive a reboot; ``/run/skyward`` when unset.
``Image.install_variables()``
    The credentials of the index and the image's ``env``, so that no secret stands in the script itself.
``SSL_CERT_FILE``, proxies, settings of indexes
    As uv reads them. What pip's variables say of indexes holds where uv's say nothing.

uv is what the machine has, else what its vendor's script brings, else the wheel of the package index, fetched by curl,
GNU wget or python3, whichever is there, and checked against the digest that the index states.

Its progress goes to standard output as lines that ``parse_progress`` understands, between the output of what it runs.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from skyward.errors import ConfigurationError
from skyward.model import bootstrap_shell as shell
from skyward.model import bootstrap_uv
from skyward.model.redact import split_credentials

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward.model.image import Image

__all__ = [
    "INDEX_NAME",
    "NODE_REQUIREMENTS",
    "PHASES",
    "WORKER_MODULE",
    "Progress",
    "Step",
    "parse_clock",
    "parse_progress",
    "script",
]

PHASES = ("uv", "apt", "deps", "skyward", "server", "volumes")
"""The phases of every image, in the order in which they run."""

NODE_REQUIREMENTS = ("psutil", "nvidia-ml-py")
"""What a node's metrics need beside the image's own packages. Without versions, so that the image's pins decide."""

WORKER_MODULE = "skyward.worker"
"""The module whose ``__main__`` the launcher ``bin/skyward-node`` runs."""

INDEX_NAME = "skyward"
"""The name under which uv is told of ``pip_extra_index_url``; its credentials are variables with this name."""

_MARK = "::skyward::"

type State = Literal["started", "completed", "kept", "failed"]


@frozen
class Progress:
    """One step of a phase. ``seconds`` is set on ``completed``, ``command`` (what failed) on ``failed``."""

    step: str
    state: State
    seconds: float | None = None
    command: str = ""


def _check_name(_step: Step, _attribute: Attribute[str], value: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", value):
        raise ConfigurationError(f"a step's name is made of a-z, 0-9, - and _, and {value!r} is not")


@frozen
class Step:
    """A further phase, or more commands for the phase of that name. ``body`` is POSIX sh under ``set -eu``.

    What it leaves running in the background must close descriptor 9 (``9>&-``), which is the script's lock.

    ``origin`` is the distribution and version of the plugin that asks for it, which core fills in.
    """

    name: str = field(validator=_check_name)
    body: str
    origin: str = field(default="", eq=False, kw_only=True)


def _bodies(image: Image) -> dict[str, str]:
    index = ""
    if image.pip_extra_index_url is not None:
        url = split_credentials(image.pip_extra_index_url).url
        index = f"""[ -n "${{UV_INDEX:-}}" ] || UV_INDEX={shlex.quote(f"{INDEX_NAME}={url}")}\nexport UV_INDEX\n"""
    requirements = "\n".join((*image.pip, *NODE_REQUIREMENTS))
    return {
        "uv": bootstrap_uv.UV,
        "apt": shell.APT.format(packages=shlex.join(image.apt)) if image.apt else "",
        "deps": shell.DEPS.format(requirements=requirements, index=index, python=shlex.quote(image.python)),
        "skyward": shell.SKYWARD,
        "server": shell.SERVER.format(module=WORKER_MODULE),
        "volumes": shell.VOLUMES,
    }


def script(image: Image, *, ttl: int = 0, steps: Iterable[Step] = (), phases: Collection[str] = PHASES) -> str:
    """The whole script. ``ttl`` is in seconds; 0 arms nothing. Raises ``ConfigurationError`` for a negative one.

    With fewer ``phases`` it makes what a machine's image may hold already: the whole script keeps them.
    """
    if ttl < 0:
        raise ConfigurationError(f"ttl={ttl} is in the past: give seconds from now, or 0 for no limit")
    bodies = _bodies(image)
    for step in steps:
        bodies[step.name] = bodies.get(step.name, "").rstrip("\n") + "\n" + step.body.strip("\n") + "\n"
    parts = [shell.HEAD]
    if ttl:
        parts.append(shell.TTL.format(ttl=ttl))
    parts.append(shell.LOCK)
    names = list(bodies)
    if image.apt and "apt" in phases:
        parts.append(shell.APT_AHEAD.format(digest=_digest(bodies["apt"])))
    parts.append(bootstrap_uv.FETCHING)
    chosen = [name for name in names if name in phases or name not in PHASES]
    parts += [_guarded(name, bodies[name], later=names[names.index(name) + 1 :]) for name in chosen]
    return "".join(parts)


def _digest(body: str) -> str:
    return hashlib.blake2b(body.strip("\n").encode()).hexdigest()[:16]


def _guarded(name: str, body: str, *, later: list[str]) -> str:
    body = body.strip("\n") or ":"
    digest = _digest(body)
    before = ""
    if name == "uv":
        # One that the machine had, and that somebody has removed since.
        before = 'command -v uv >/dev/null || rm -f "$root/markers/uv"\n'
    if name == "skyward":
        # What this phase does depends on the archive that it finds, not on the text alone.
        before = 'archive=$root/payload.tar.gz\nchecksum=$({ sha256sum <"$archive"; } 2>/dev/null | cut -c 1-16)\n'
        digest += "-$checksum"
    if name == "volumes":
        # Those that a restart, or somebody, has taken away since.
        before = shell.VOLUMES_GONE
    call = " ".join(["begin", name, f'"{digest}"', *later])
    return f"\n{before}if {call}; then\n{body}\nfinish\nfi\n"


_CLOCK = re.compile(rf"{_MARK} \S+ clock (-?\d+)")


def parse_clock(line: str) -> int | None:
    """What a machine's clock says, in seconds since 1970, as a script tells that fails; ``None`` for other lines."""
    found = _CLOCK.fullmatch(line.rstrip())
    return None if found is None else int(found[1])


_PROGRESS = re.compile(rf"{_MARK} (\S+) (started|completed|kept|failed) ?(.*)")


def parse_progress(line: str) -> Progress | None:
    """A line of the script's output as the progress that it tells; ``None`` for any other output."""
    found = _PROGRESS.fullmatch(line.rstrip())
    if found is None:
        return None
    step, state, rest = found.groups()
    match state:
        case "completed":
            return Progress(step, "completed", float(rest))
        case "failed":
            return Progress(step, "failed", command=rest)
        case "kept":
            return Progress(step, "kept")
        case _:
            return Progress(step, "started")
