"""Running a program, with an end to the waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from attrs import frozen

from skyward._asking import seen_through

__all__ = ["Answer", "run", "start"]


@frozen
class Answer:
    """How a program ended: its exit status and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """The last lines of what it wrote about its failure."""
        lines = (self.errors.strip() or self.output.strip()).splitlines()
        return "\n".join(lines[-5:]) or f"status {self.status}"


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
    # Both are seen through whatever is cancelled: a process that is let go of while it is started is nobody's.
    starting = asyncio.ensure_future(start(command))
    talk: asyncio.Task[Answer] | None = None
    try:
        process = await asyncio.shield(starting)
        talk = asyncio.ensure_future(_talk(process, stdin, limit))
        return await asyncio.shield(talk)
    except asyncio.CancelledError:
        await seen_through([starting])
        if starting.exception() is None:
            process = starting.result()
            if talk is None and whole:
                talk = asyncio.ensure_future(_talk(process, stdin, limit))
            if talk is not None:
                if not whole:
                    talk.cancel()
                await seen_through([talk])
                if not talk.cancelled():
                    talk.exception()  # the cancellation is the answer
            await seen_through([asyncio.ensure_future(_end(process))])
        raise


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


async def _talk(process: asyncio.subprocess.Process, stdin: bytes, limit: float) -> Answer:
    try:
        async with asyncio.timeout(limit):
            output, errors = await process.communicate(stdin)
    finally:
        await _end(process)
    assert process.returncode is not None
    return Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process and what it has started, if it is still there."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
