"""Which process a client is, in a word that machines bear as a tag, and whether the process of such a word has died.

A word is made of the place (a host since its start, and on it a namespace of processes), the process's number and the
moment at which it started. It names no user and no host, and it is never given twice.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

__all__ = ["client_lives", "this_client"]


def this_client() -> str:
    """The word of this process: letters, digits and dashes."""
    return f"{_place()}-{os.getpid()}-{_started(os.getpid())}"


def client_lives(client: str) -> bool | None:
    """Whether the process still lives; ``None`` where that cannot be known, as of another host's.

    ``client`` is a word that ``PoolIdentity.client`` was once, which machines bear as a tag. Core ends the machines of
    dead clients itself; this is for what else a provider makes and tags for a pool, such as a network.
    """
    place, _, process = client.partition("-")
    number, _, started = process.partition("-")
    if place != _place() or not number.isdigit() or not started:
        return None
    return _started(int(number)) == started


def _place() -> str:
    parts = [socket.gethostname()]
    try:
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    except OSError:  # not on Linux
        import psutil

        parts.append(f"{psutil.boot_time():.0f}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _started(process: int) -> str:
    """When a living process was started, in units of the system's own; nothing for one that is no more."""
    if not os.path.isdir("/proc/self"):
        return _started_by_psutil(process)
    try:
        line = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    # After the name, which may contain anything and stands in parentheses: the state first, the start as the 20th.
    fields = line.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _started_by_psutil(process: int) -> str:
    import psutil

    try:
        found = psutil.Process(process)
        return "" if found.status() == psutil.STATUS_ZOMBIE else f"{found.create_time():.2f}".replace(".", "")
    except psutil.Error:
        return ""
