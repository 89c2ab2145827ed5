"""An image as the shell script that makes a bare machine a node. Pure: text in, text out.

The script is plain POSIX sh and may be run again at any time. Each phase is guarded by a marker file that holds the
hash of what the phase did and is written when the phase is whole, so a second run does only what is missing or has
changed. What it reads from its environment:

``SKYWARD_ROOT``
    The folder of everything that it makes; ``/opt/skyward`` when unset. It holds ``bin``, ``venv``, ``payload``,
    ``volumes``, and ``payload.tar.gz``, which the client puts there before it runs the script.
``SKYWARD_RUN``
    The folder of what must not outlive a reboot; ``/run/skyward`` when unset.
``Image.install_variables()``
    The credentials of the index and the image's ``env``, so that no secret stands in the script itself.

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
from skyward.model.redact import split_credentials

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward.model.image import Image

__all__ = ["INDEX_NAME", "NODE_REQUIREMENTS", "PHASES", "WORKER_MODULE", "Progress", "Step", "parse_progress", "script"]

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

    ``origin`` is the distribution and version of the plugin that asks for it, which core fills in.
    """

    name: str = field(validator=_check_name)
    body: str
    origin: str = field(default="", eq=False, kw_only=True)


_HEAD = r"""#!/bin/sh
# Makes this machine a node of Skyward. Safe to run again: a phase whose marker holds its hash is kept as it is.
set -eu
umask 022
root=${SKYWARD_ROOT:-/opt/skyward}
mkdir -p "$root/bin" "$root/markers"
export PATH="$root/bin:$PATH" DEBIAN_FRONTEND=noninteractive UV_NO_PROGRESS=1
export UV_CACHE_DIR="$root/cache" UV_PYTHON_INSTALL_DIR="$root/python"
name=start command='' status=0

say() { printf '::skyward:: %s %s %s\n' "$name" "$1" "${2:-}"; }
run() { command="$*"; "$@"; command=''; }
as_root() { if [ "$(id -u)" = 0 ]; then run "$@"; else run sudo -n -E "$@"; fi; }
apt_get() { as_root apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }
fail() { echo "$1" >&2; exit 1; }
begin() { # name, hash, the later phases -> whether there is something to do
    name=$1 hash=$2 begun=$(date +%s)
    shift 2
    if [ "$(cat "$root/markers/$name" 2>/dev/null)" = "$hash" ]; then say kept; return 1; fi
    for stale in "$name" "$@"; do rm -f "$root/markers/$stale"; done # what is built on it falls with it
    say started
}
finish() {
    printf '%s\n' "$hash" >"$root/markers/$name.new"
    mv "$root/markers/$name.new" "$root/markers/$name"
    say completed $(($(date +%s) - begun))
}
trap 'status=$?; [ "$status" = 0 ] || say failed "$command"' EXIT
"""

# The record lies in a folder that a reboot empties, so a snapshot of the machine does not carry an old deadline along.
_TTL = r"""
# The machine ends itself, whatever becomes of the rest. A second run does not move the deadline.
ttl={ttl} armed=${{SKYWARD_RUN:-/run/skyward}}/ttl
mkdir -p "${{armed%/*}}"
if [ ! -e "$armed" ]; then
    setsid sh -c "sleep $ttl; shutdown -h now || sudo -n shutdown -h now || poweroff -f" \
        </dev/null >/dev/null 2>&1 &
    echo $(($(date +%s) + ttl)) >"$armed"
fi
"""

# Two runs side by side (a connection that dropped, and the next one) take turns.
_LOCK = r"""
exec 9>"$root/lock"
if command -v flock >/dev/null; then flock 9; fi
"""

_UV = r"""
if ! command -v uv >/dev/null; then
    if ! command -v curl >/dev/null && ! command -v wget >/dev/null; then
        apt_get update
        apt_get install --no-install-recommends ca-certificates curl
    fi
    url=https://astral.sh/uv/install.sh
    if command -v curl >/dev/null; then
        run curl --proto '=https' --tlsv1.2 --retry 5 -fsSL -o "$root/uv-install.sh" "$url"
    else
        run wget -q -O "$root/uv-install.sh" "$url"
    fi
    run env UV_INSTALL_DIR="$root/bin" UV_NO_MODIFY_PATH=1 sh "$root/uv-install.sh"
fi
run uv --version
"""

_APT = r"""
apt_get update
apt_get install --no-install-recommends {packages}
"""

_DEPS = r"""
cat >"$root/requirements.txt" <<'%%'
{requirements}
%%
{index}rm -rf "$root/venv"
run uv venv --quiet --python {python} "$root/venv"
run uv pip install --python "$root/venv/bin/python" --requirement "$root/requirements.txt"
"""

_SKYWARD = r"""
[ -e "$archive" ] || fail "$archive is missing: the client puts it there before it runs this script"
rm -rf "$root/payload.new"
mkdir "$root/payload.new"
run tar -xzf "$archive" -C "$root/payload.new"
rm -rf "$root/payload"
mv "$root/payload.new" "$root/payload"
"""

# The client's skyward stands first on the path; what it needs stands last, so that the image's own versions win.
_SERVER = r"""
site=$("$root/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$root/payload/back" >"$site/skyward.pth"
cat >"$root/bin/skyward-node.new" <<%%
#!/bin/sh
export PYTHONPATH="$root/payload/front\${{PYTHONPATH:+:\$PYTHONPATH}}"
exec "$root/venv/bin/python" -P -m {module} "\$@"
%%
chmod 755 "$root/bin/skyward-node.new"
mv "$root/bin/skyward-node.new" "$root/bin/skyward-node"
run env PYTHONPATH="$root/payload/front" "$root/venv/bin/python" -c 'import {module}, cloudpickle'
"""

_VOLUMES = r"""
mkdir -p "$root/volumes"
"""


def _bodies(image: Image) -> dict[str, str]:
    index = ""
    if image.pip_extra_index_url is not None:
        url = split_credentials(image.pip_extra_index_url).url
        index = f"""[ -n "${{UV_INDEX:-}}" ] || UV_INDEX={shlex.quote(f"{INDEX_NAME}={url}")}\nexport UV_INDEX\n"""
    requirements = "\n".join((*image.pip, *NODE_REQUIREMENTS))
    return {
        "uv": _UV,
        "apt": _APT.format(packages=shlex.join(image.apt)) if image.apt else "",
        "deps": _DEPS.format(requirements=requirements, index=index, python=shlex.quote(image.python)),
        "skyward": _SKYWARD,
        "server": _SERVER.format(module=WORKER_MODULE),
        "volumes": _VOLUMES,
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
    parts = [_HEAD]
    if ttl:
        parts.append(_TTL.format(ttl=ttl))
    parts.append(_LOCK)
    names = list(bodies)
    chosen = [name for name in names if name in phases or name not in PHASES]
    parts += [_guarded(name, bodies[name], later=names[names.index(name) + 1 :]) for name in chosen]
    return "".join(parts)


def _guarded(name: str, body: str, *, later: list[str]) -> str:
    body = body.strip("\n") or ":"
    digest = hashlib.blake2b(body.encode()).hexdigest()[:16]
    before = ""
    if name == "skyward":
        # What this phase does depends on the archive that it finds, not on the text alone.
        before = 'archive=$root/payload.tar.gz\nchecksum=$({ sha256sum <"$archive"; } 2>/dev/null | cut -c 1-16)\n'
        digest += "-$checksum"
    call = " ".join(["begin", name, f'"{digest}"', *later])
    return f"\n{before}if {call}; then\n{body}\nfinish\nfi\n"


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
