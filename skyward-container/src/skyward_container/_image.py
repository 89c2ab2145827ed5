"""The image of the nodes: made of a base once, and found by the hash of what it was made of."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import secrets
from collections import deque
from importlib import resources

from attrs import frozen

from skyward import Image, Transient, Unavailable
from skyward.spi import Surroundings, building, cache_folder, client_surroundings, shielded
from skyward_container._archive import archive
from skyward_container._engine import Engine
from skyward_container._environment import UNSET, assignments
from skyward_container._program import start
from skyward_container._pruning import LABEL, REPOSITORY, note_use, prune, purpose

__all__ = ["NodeImage", "default_base", "node_image", "switch"]

_log = logging.getLogger("skyward.container")

_PULL_LIMIT = 1200.0
_BUILD_LIMIT = 1200.0
_COMMIT_LIMIT = 300.0
_END_LIMIT = 20.0
_ITS_OWN = ("HOME", "HOSTNAME", "TERM", "container")
"""Variables that are of a container, not of its image, or that whoever logs in has another value for."""
_MARK = "::recipe::"
_PROGRESS = "::skyward::"
"""What a line of a phase's progress begins with. It is no news to whoever reads why the whole has failed."""
_CERTIFICATES = "certificates.pem"
_PREPARED = ("uv", "apt", "deps")
"""Phases of a node that are the same for every pool without packages of its own: they are done already."""

# Takes a tar from its standard input and runs the recipe in it. The container ends when that input does: with its
# client, whatever ends that.
_BUILDER = f"""
umask 077
read -r size
mkdir -p /run/skyward
head -c "$size" | tar -x -f - -C /run/skyward
umask 022
{{ status=0; sh /run/skyward/recipe.sh || status=$?; rm -rf /run/skyward; echo "{_MARK} $status"; }} 2>&1 </dev/null &
cat >/dev/null
"""


@frozen
class NodeImage:
    """An image that nodes can be started from.

    Attributes:
        tag: its name.
        variables: the environment that the base gives its containers. Nobody who comes by SSH would have it.
    """

    tag: str
    variables: dict[str, str]


def default_base(image: Image) -> str:
    """Python's official image, of the version that a pool asks for; built on Debian's stable release."""
    return f"docker.io/library/python:{image.python}-slim"


async def node_image(engine: Engine, base: str, image: Image) -> NodeImage:
    """The image for nodes; made if there is none yet, which takes about a minute.

    Raises:
        Unavailable: the base cannot be had, or nothing can be made of it; what the engine said is in the message.
        Transient: the engine did not answer.
    """
    recipe = _text("recipe.sh")
    bootstrap = Image(python=image.python, allow_version_gap=True).bootstrap(phases=_PREPARED)
    known = await engine.inspect("image", [base]) or await _pulled(engine, base)
    # By its content, not by its name: a base that its user builds anew under the same name is another one.
    parts = "\0".join((recipe, bootstrap, str(known[0].get("Id"))))
    tag = f"{REPOSITORY}:{hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()}"
    folder = cache_folder("container")
    note_use(folder, tag, engine)  # before it is looked for: from here on nobody else removes it
    found = await engine.inspect("image", [tag])
    if not found:
        # Two engines have different images, and one of them is not kept from building by the other.
        async with building(folder / f"{tag.rpartition(':')[2]}-{engine.name}.build"):
            found = await engine.inspect("image", [tag])
            if not found:
                label = f"{LABEL}={purpose(base, image.python)}"
                await _build(engine, base, tag, label, {"recipe.sh": recipe, "bootstrap.sh": bootstrap})
                found = await engine.inspect("image", [tag])
                await prune(engine, folder, base, image.python, tag)
    if not found:
        raise Transient(f"{engine.name} does not know the image {tag} that it has just made: try again")
    pairs = ((found[0].get("Config") or {}).get("Env")) or []
    variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return NodeImage(tag, {name: value for name, value in variables.items() if value and name not in _ITS_OWN})


@functools.cache
def _text(name: str) -> str:
    return (resources.files("skyward_container") / name).read_text(encoding="utf-8")


async def _pulled(engine: Engine, base: str) -> list[dict[str, object]]:
    _log.info("%s is getting the image %s", engine.name, base)
    answer = await engine.ask("pull", base, limit=_PULL_LIMIT)
    found = [] if answer.status else await engine.inspect("image", [base])
    if not found:
        raise Unavailable(
            f"{engine.name} has no image {base} and cannot get it: {answer.words}\nsee that the name is right and that "
            f"`{engine.name} pull {base}` works, or name another one, made from Debian or Ubuntu, by "
            "sky.Container(image=...)"
        )
    return found


async def _build(engine: Engine, base: str, tag: str, label: str, files: dict[str, str]) -> None:
    """Run the recipe in a container of the base, and keep the outcome under the tag, with the container's label."""
    _log.info("making the image of the nodes from %s, once; about a minute", base)
    client = client_surroundings()
    variables = {**client.environment(f"/run/skyward/{_CERTIFICATES}"), "UV_COMPILE_BYTECODE": "1"}
    trusted = {} if client.certificates is None else {_CERTIFICATES: client.certificates}
    packed = archive({**files, "variables": assignments(variables), **trusted})
    name = f"skyward-build-{secrets.token_hex(6)}"
    command = ("run", "--interactive", "--rm", "--pull", "never", "--user", "0:0", "--name", name, "--label", label)
    starting = asyncio.ensure_future(
        start((engine.program, *command, *UNSET, "--stop-signal", "KILL", "--entrypoint", "sh", base, "-c", _BUILDER))
    )
    lines: deque[str] = deque(maxlen=20)
    try:
        process = await asyncio.shield(starting)
        assert process.stdin is not None
        async with asyncio.timeout(_BUILD_LIMIT):
            process.stdin.write(f"{len(packed)}\n".encode() + packed)
            status = await _heard(process, lines, client)
        if status == "0":
            kept = await engine.ask("commit", name, tag, limit=_COMMIT_LIMIT, whole=True)
            if kept.status:
                raise Unavailable(f"{engine.name} cannot keep the image of the nodes: {kept.words}")
            return
    except TimeoutError:
        lines.append(f"(not done after {_BUILD_LIMIT:g} s)")
    except OSError as error:
        lines.append(f"{engine.program} cannot be run: {error}")
    finally:
        await shielded(_ended(engine, starting, name))
    words = "\n".join(lines)
    raise Unavailable(
        f"nodes cannot be made from the image {base}: its preparation failed\n{words}\ncorrect what these lines "
        "complain of; if it is the image, name another one, made from Debian or Ubuntu, by sky.Container(image=...)"
    )


async def _heard(process: asyncio.subprocess.Process, lines: deque[str], client: Surroundings) -> str | None:
    """Wait for the recipe's end; its status, and its last lines."""
    assert process.stdout is not None
    assert process.stderr is not None
    while line := (await process.stdout.readline()).decode(errors="replace"):
        mark, _, status = line.strip().partition(" ")
        if mark == _MARK:
            return status
        _log.debug("%s", client.redact(line.rstrip()))
        if not line.startswith(_PROGRESS):
            lines.append(client.redact(line.rstrip()))
    words = (await process.stderr.read()).decode(errors="replace")  # the engine's own
    lines.extend(client.redact(words).splitlines())
    return None


async def _ended(engine: Engine, starting: asyncio.Future[asyncio.subprocess.Process], name: str) -> None:
    """End the container of a recipe, and its command, which would end by themselves when this process does."""
    with contextlib.suppress(OSError):
        process = await starting
        try:
            async with asyncio.timeout(_END_LIMIT):
                await process.communicate()  # closes its standard input, and the container ends with that
        except TimeoutError:
            process.kill()
            await process.wait()
            await engine.ask("rm", "--force", name, whole=True)


def switch() -> str:
    """The text of a node's first process: its dead man's switch."""
    return _text("node.sh")
