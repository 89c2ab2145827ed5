"""The engine: Docker, podman or nerdctl, by the command line that the three have in common."""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from skyward import Transient, Unavailable
from skyward.spi import shielded
from skyward_container._elsewhere import ELSEWHERE, elsewhere, elsewhere_by_info
from skyward_container._program import Answer, run

__all__ = ["ENGINES", "Engine", "find_engine"]

_log = logging.getLogger("skyward.container")

ENGINES = ("docker", "podman", "nerdctl")
"""The programs that are looked for, in this order."""

_ANSWER_LIMIT = 25.0
"""Seconds that an engine may take to say that it is there; podman takes over 15 where much is being written."""
_LIMIT = 60.0
"""Seconds that any other command may take, unless it says otherwise."""

# Not just "no such": a socket that is missing is "no such file or directory".
_MISSING = re.compile(
    r"no such (container|object|image|network)|(image|network)( \S+)? not (known|found)", re.IGNORECASE
)

_NO_NAME = re.compile(r"invalid reference|repository name must be", re.IGNORECASE)

_INSTALL = (
    "install one (Debian and Ubuntu: `sudo apt-get install podman`; macOS and Windows: Docker Desktop or Podman "
    "Desktop), start it and see that `podman info` or `docker info` works; or use sky.Local(), which needs none"
)


@frozen
class Engine:
    """An engine that has answered.

    Attributes:
        program: path of its command line.
        cpus: processors of the machine that it runs on.
        memory: that machine's memory in bytes.
    """

    program: str
    cpus: int
    memory: int

    @property
    def name(self) -> str:
        """The program's name, for messages."""
        return os.path.basename(self.program)

    async def ask(self, *arguments: str, stdin: bytes = b"", limit: float = _LIMIT, whole: bool = False) -> Answer:
        """Give a command, and return how it ended.

        Raises:
            Transient: there was no answer.
        """
        try:
            return await run((self.program, *arguments), stdin, limit=limit, whole=whole)
        except TimeoutError:
            raise Transient(
                f"{self.name} did not answer to `{self.name} {arguments[0]}` within {limit:g} s: see whether "
                f"`{self.name} info` answers, and start the engine again if it does not"
            ) from None
        except OSError as error:
            raise Transient(f"{self.program} cannot be run any more ({error}): install {self.name} again") from error

    async def get(self, *arguments: str, limit: float = _LIMIT) -> str:
        """Ask something that any engine can answer, and return what it says.

        Raises:
            Transient: it did not answer, or failed.
        """
        answer = await self.ask(*arguments, limit=limit)
        if answer.status:
            raise Transient(f"`{self.name} {arguments[0]}` failed: {answer.words}")
        return answer.output

    async def inspect(self, kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
        """What the engine knows of containers, images or networks. Those that do not exist are left out.

        Raises:
            Unavailable: no image can have such a name.
            Transient: it did not answer, or failed in another way.
        """
        wanted = list(names)
        if not wanted:
            return []
        answer = await self.ask(kind, "inspect", *wanted)
        # Docker says "[]" and ends with 1 both for what it does not have and when it cannot be reached.
        if answer.status and not _MISSING.search(answer.errors):
            if kind == "image" and _NO_NAME.search(answer.errors):
                shown = ", ".join(map(repr, wanted))
                raise Unavailable(f"{shown} cannot be the name of an image: write it as in docker.io/library/debian:13")
            raise Transient(f"`{self.name} {kind} inspect` failed: {answer.words}")
        try:
            found = json.loads(answer.output or "[]")
        except ValueError as error:
            raise Transient(f"`{self.name} {kind} inspect` gave no JSON: {answer.output[:200]!r}") from error
        return [each for each in found or [] if isinstance(each, dict)]


async def find_engine(binary: str | None) -> Engine:
    """The engine of this program, or else the first of `ENGINES` that answers.

    A program may be there without an engine behind it, so each is asked.

    Raises:
        Unavailable: there is none; what to do about it is in the message.
    """
    if binary is not None:
        return await _named(binary)
    problems: list[str] = []
    # All at once, since one that hangs takes its whole time; but the order decides.
    asked = [asyncio.ensure_future(_answering(name)) for name in ENGINES]
    try:
        for name, answer in zip(ENGINES, asked, strict=True):
            engine = await answer
            if isinstance(engine, Engine):
                return engine
            problems.append(f"{name} {engine}")
            if engine.startswith(ELSEWHERE):  # its user may have meant it
                _log.warning("%s %s; another engine is looked for", name, engine)
    finally:
        for answer in asked:
            answer.cancel()
        await shielded(asyncio.wait(asked))
    raise Unavailable(f"no container engine answers ({'; '.join(problems)}): {_INSTALL}")


async def _named(binary: str) -> Engine:
    engine = await _answering(binary)
    if isinstance(engine, Engine):
        return engine
    if engine.startswith(ELSEWHERE):
        raise Unavailable(f"binary={binary!r} {engine}")
    near = difflib.get_close_matches(os.path.basename(binary), ENGINES, n=1)
    if near and near[0] != binary and shutil.which(binary) is None:
        raise Unavailable(f"binary={binary!r} {engine}: did you mean {near[0]!r}?")
    raise Unavailable(f"binary={binary!r} {engine}: {_INSTALL}")


async def _answering(binary: str) -> Engine | str:
    """The engine behind a program, or what is the matter with it."""
    program = shutil.which(binary)
    if program is None:
        return "is not installed"
    if problem := await elsewhere(program):
        return problem
    try:
        answer = await run((program, "info", "--format", "{{json .}}"), limit=_ANSWER_LIMIT)
    except TimeoutError:
        return f"did not answer within {_ANSWER_LIMIT:g} s"
    except OSError as error:
        return f"cannot be run: {error}"
    try:
        info = json.loads(answer.output) if not answer.status else {}
    except ValueError:
        info = {}
    figures = _figures(info) if isinstance(info, dict) else None
    if figures is None:
        return f"does not answer: {answer.words.splitlines()[-1]}"
    return await elsewhere_by_info(program, info) or Engine(program, *figures)


def _figures(info: Mapping[str, Any]) -> tuple[int, int] | None:
    """Processors and bytes of memory, as Docker and nerdctl or as podman tell them; ``None`` from no engine."""
    # Docker's client describes itself without an engine, too.
    if info.get("ServerErrors"):
        return None
    host = info.get("host") or {}
    cpus, memory = info.get("NCPU") or host.get("cpus"), info.get("MemTotal") or host.get("memTotal")
    return (int(cpus), int(memory)) if cpus and memory else None
