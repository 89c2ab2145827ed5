"""How a slot died: from a wait status and the kernel's count of out-of-memory kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

__all__ = ["how_it_died", "kill_counters", "oom_kills"]

_VMSTAT = "/proc/vmstat"
_MEMBERSHIP = "/proc/self/cgroup"
_CGROUPS = "/sys/fs/cgroup"


def kill_counters(membership: str = _MEMBERSHIP, root: str = _CGROUPS, vmstat: str = _VMSTAT) -> list[str]:
    """Files in which the kernel may count its out-of-memory kills in this machine and in this process's groups.

    ``/proc/vmstat`` has counted them since Linux 4.13; a control group does in ``memory.events`` (version 2) or
    ``memory.oom_control`` (version 1). Inside a container the group's own folder is often mounted as the root.
    """
    files = [vmstat]
    for line in _lines(membership):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            files += [f"{root}{path}/memory.events", f"{root}/memory.events", f"{root}/unified{path}/memory.events"]
        elif "memory" in controllers.split(","):
            files += [f"{root}/memory{path}/memory.oom_control", f"{root}/memory/memory.oom_control"]
    return list(dict.fromkeys(os.path.normpath(file) for file in files))


def oom_kills(files: Iterable[str] | None = None) -> int:
    """Return how often the kernel has killed for memory, summed over its counters; 0 where it does not say."""
    total = 0
    for path in kill_counters() if files is None else files:
        for line in _lines(path):
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                total += int(count)
    return total


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def how_it_died(status: int, *, kills_before: int, kills_now: int) -> dict[str, object]:
    """Return ``signal``, ``exit_code`` and ``out_of_memory`` for a wait status as ``os.waitpid`` gives it.

    A SIGKILL counts as out of memory when the kernel's count has risen meanwhile.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        memory = number == signal.SIGKILL and kills_now > kills_before
        return {"signal": number, "exit_code": None, "out_of_memory": memory}
    return {"signal": None, "exit_code": os.waitstatus_to_exitcode(status), "out_of_memory": False}
