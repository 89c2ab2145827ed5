"""Run a program of somebody else's and collect what it says, so that nothing of it outlives the wish for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
    process = await asyncio.create_subprocess_exec(
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
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        output = await process.stdout.read()
        code = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
        raise
    finally:
        process.stdin.close()
    return Finished(code, output.decode(errors="replace"))
