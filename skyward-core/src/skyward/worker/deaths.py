"""How a slot died: from a wait status and the kernel's count of out-of-memory kills."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["how_it_died", "oom_kills"]

_VMSTAT: Final = Path("/proc/vmstat")
_CGROUP: Final = Path("/sys/fs/cgroup/memory.events")


def oom_kills(vmstat: Path = _VMSTAT, cgroup: Path = _CGROUP) -> int:
    """Return how often the kernel has killed for memory, in this machine and this control group; 0 where unknown.

    Source: ``oom_kill`` in Linux's ``/proc/vmstat`` (since 4.13) and in cgroup v2's ``memory.events``.
    """
    total = 0
    for path in (vmstat, cgroup):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def how_it_died(status: int, *, kills_before: int, kills_now: int) -> dict[str, object]:
    """Return ``signal``, ``exit_code`` and ``out_of_memory`` for a wait status as ``os.waitpid`` gives it.

    A SIGKILL counts as out of memory when the kernel's count rose since the slot was started.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"signal": number, "exit_code": None, "out_of_memory": number == 9 and kills_now > kills_before}  # noqa: PLR2004
    return {"signal": None, "exit_code": os.waitstatus_to_exitcode(status), "out_of_memory": False}
