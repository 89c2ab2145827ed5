"""Running a program, with an end to the waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Sequence

from attrs import frozen

from skyward.spi import client_surroundings, shielded

__all__ = ["Answer", "run", "start"]

_LOGGED = re.compile(r'time="[^"]*" level=(debug|info|warning) ')


@frozen
class Answer:
    """How a program ended: its exit status and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """The last lines of what it wrote about its failure; credentials of proxies and registries are hidden.

        Podman's log lines, of each attempt for instance, are left out where it says anything else.
        """
        lines = (self.errors.strip() or self.output.strip()).splitlines()
        lines = [line for line in lines if not _LOGGED.match(line)] or lines
        return client_surroundings().redact("\n".join(lines[-5:])) or f"status {self.status}"


async def run(command: Sequence[str], stdin: bytes = b"", *, limit: float, whole: bool = False) -> Answer:
    """Run a program to its end.

    Args:
        command: the program and its arguments. They can be seen by every user of this machine: no secret is among them.
        stdin: what it reads.
        limit: seconds after which it is ended.
        whole: it changes something. If the caller is cancelled meanwhile, it is waited for all the same: what becomes
            of a change that is cut off nobody could tell.

    Raises:
        TimeoutError: it took longer than ``limit``.
        OSError: it cannot be started.
    """
    work = _run(command, stdin, limit)
    return await (shielded(work) if whole else work)


async def start(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a program with pipes, in a session of its own, which the Ctrl-C of a terminal does not reach."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    )


async def _run(command: Sequence[str], stdin: bytes, limit: float) -> Answer:
    begun: list[asyncio.subprocess.Process] = []

    async def begin() -> None:
        begun.append(await start(command))

    try:
        await shielded(begin())  # a process that is let go of while it is started is nobody's
        async with asyncio.timeout(limit):
            output, errors = await begun[0].communicate(stdin)
    finally:
        for process in begun:
            await shielded(_end(process))
    assert begun[0].returncode is not None
    return Answer(begun[0].returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process and what it has started, if it is still there."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
