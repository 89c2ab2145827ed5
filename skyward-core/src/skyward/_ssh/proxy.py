"""A program that leads to a machine's SSH server, as a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from typing import IO

from attrs import frozen

from skyward.model.ssh import SshProxy

__all__ = ["Program", "running"]

_PATIENCE = 5.0
"""Seconds from the end of its input to the program's own; then it is killed."""
_WORDS = 500
"""How much is told of what it said last, in bytes."""


@frozen(eq=False)
class Program:
    """A program that runs, this end of its standard input and output, and what it says beside."""

    socket: socket.socket
    _process: subprocess.Popen[bytes]
    _said: IO[bytes]

    async def close(self) -> str:
        """End it, by the end of its input, and wait for that; its last words. The connection over it is closed then."""
        self.socket.close()
        return await asyncio.to_thread(self._end)

    def _end(self) -> str:
        if self._said.closed:
            return ""
        with self._process as process, self._said as said:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            said.seek(max(said.seek(0, os.SEEK_END) - _WORDS, 0))
            return " ".join(said.read().decode(errors="replace").split())


@contextlib.asynccontextmanager
async def running(proxy: SshProxy) -> AsyncGenerator[Program]:
    """Start a program. It runs on after the block, and is ended where that fails.

    Ctrl-C in a terminal is not for it, since the end of a pool needs its nodes.

    Raises:
        ConnectionError: it cannot be started; or that of the block, with the program's last words.
    """
    program = _started(proxy)
    try:
        yield program
    except ConnectionError as error:
        words = await program.close()
        name = os.path.basename(proxy.command[0])
        raise type(error)(f"{error}, through {name}" + (f", which says: {words}" if words else "")) from error
    except BaseException:
        await program.close()
        raise


def _started(proxy: SshProxy) -> Program:
    here, there = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
    try:
        process = subprocess.Popen(
            proxy.command,
            stdin=there.fileno(),
            stdout=there.fileno(),
            stderr=said,
            env={**os.environ, **proxy.environment},
            start_new_session=True,
        )
    except OSError as error:
        here.close()
        said.close()
        raise ConnectionError(f"{proxy.command[0]} cannot be started: {error}") from error
    finally:
        there.close()
    return Program(here, process, said)
