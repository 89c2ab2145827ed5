"""Running shell text on a machine, and putting a file there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

import asyncssh

__all__ = ["run", "upload"]

# Reads assignments up to the line "::", then the rest as one script. So values stand neither on a command line nor in a
# file, and no command of the script can eat the script. What a connection that dropped has brought in part is not run:
# the end is missing. One line without single quotes goes through any login shell.
_END = "# the end of the script"
_LOADER = (
    'while IFS= read -r line; do case "$line" in ::) break ;; esac; eval "$line"; done; script=$(cat); '
    f'case "$script" in *"{_END}") eval "$script" ;; *) exit 1 ;; esac'
)

_PIECE = 1 << 20


def _assignments(variables: Mapping[str, str]) -> str:
    """Lines that set variables, and the line that ends them. A line feed in a value would end its line too early."""
    lines = [r"nl=$(printf '\n.'); nl=${nl%.}"]
    for name, value in variables.items():
        quoted = '"$nl"'.join(shlex.quote(part) for part in value.split("\n"))
        lines.append(f"export {name}={quoted}")
    return "\n".join((*lines, "::", ""))


async def run(
    ssh: asyncssh.SSHClientConnection, script: str, variables: Mapping[str, str], said: Callable[[str], None]
) -> int:
    """Run a script under ``/bin/sh`` and return its exit status; 128 and more for a signal.

    Args:
        ssh: the connection.
        script: POSIX sh. Its standard input is empty.
        variables: are set and exported there.
        said: called with each line of its output, of both streams.

    Raises:
        ConnectionError: the connection ended before the script did.
    """
    command = f"exec /bin/sh -c {shlex.quote(_LOADER)}"
    try:
        process = await ssh.create_process(
            command, encoding="utf-8", errors="replace", stderr=asyncssh.STDOUT, request_pty=False
        )
        process.stdin.write(_assignments(variables) + f"exec 2>&1\n{script}\n{_END}\n")
        process.stdin.write_eof()
        while line := await process.stdout.readline():
            said(line.rstrip("\r\n"))
        await process.wait_closed()
    except (OSError, asyncssh.Error) as error:
        raise ConnectionError(f"the connection ended while a script ran: {error}") from error
    if process.exit_signal is not None:
        return 128
    if process.exit_status is None:
        raise ConnectionError("the connection ended while a script ran")
    return process.exit_status


async def upload(ssh: asyncssh.SSHClientConnection, data: bytes, path: str, *, private: bool = False) -> None:
    """Put a file there, whole or not at all; one that is ``private`` is for its owner alone, from the first byte on.

    Raises:
        ConnectionError: the connection ended before that.
        OSError: the machine could not take it; its own words are in it.
    """
    half = '"$1.$$"'
    store = f'cat >{half} && [ "$(wc -c <{half})" -eq {len(data)} ] && mv {half} "$1" || {{ rm -f {half}; exit 1; }}'
    mask = "umask 077; " if private else ""
    command = f"exec /bin/sh -c {shlex.quote(mask + store)} sh {shlex.quote(path)}"
    try:
        process = await ssh.create_process(command, encoding=None, request_pty=False)
        for begin in range(0, len(data), _PIECE):
            process.stdin.write(data[begin : begin + _PIECE])
            await process.stdin.drain()
        process.stdin.write_eof()
        words = await process.stderr.read()
        await process.wait_closed()
    except (OSError, asyncssh.Error) as error:
        raise ConnectionError(f"the connection ended while a file was sent: {error}") from error
    if process.exit_status is None:
        raise ConnectionError("the connection ended while a file was sent")
    if process.exit_status:
        raise OSError(f"{path} could not be written there: {words.decode(errors='replace').strip()}")
