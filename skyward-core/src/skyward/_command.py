"""Run a program of somebody else's and collect what it says, so that nothing of it outlives the wish for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from skyward._concurrency import shielded

__all__ = ["Finished", "run_command"]

# The shell leads a process group of its own. Its standard input is a pipe that the client holds open and never writes
# to: when the client dies, even by SIGKILL, the pipe ends and the watcher ends the group, the shell included.
_GUARDED = """
exec 3<&0 </dev/null
"$@" 3<&- &
job=$!
{ cat <&3; kill -KILL 0; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$job"
status=$?
kill "$watcher"
exit "$status"
"""


class Finished(NamedTuple):
    """``code`` is the exit status (128 and more: the signal's number above 128), ``output`` both streams as one."""

    code: int
    output: str


async def run_command(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Finished:
    """Run ``command`` with exactly ``env``. Cancelled, it kills the program and all that this has started at once."""
    begun: list[asyncio.subprocess.Process] = []

    async def begin() -> None:
        begun.append(await _start(command, env, cwd))

    try:
        await shielded(begin())  # a process that is let go of while it is started is nobody's
        process = begun[0]
        assert process.stdout is not None
        output = await process.stdout.read()
        code = await process.wait()
    finally:
        for process in begun:
            await shielded(_end(process))
    return Finished(code, output.decode(errors="replace"))


async def _start(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        _GUARDED,
        "sh",
        *command,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the program and what it has started, unless it has ended by itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
