"""The processes that tasks leave behind: adopted by the supervisor, so that they end with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

__all__ = ["adopt_orphans", "die_with", "end_all", "remove_folder", "run_last"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""Numbers from Linux's ``prctl.h``."""
_POLITE = 0.2
"""Seconds that a left-over process has to end itself after SIGTERM: time for the nodes of a pool that a task has
opened to remove their folders."""
_FIRMLY = 5.0
"""Seconds after which a process that does not even react to SIGKILL is left to the kernel."""
_LAST = 10.0
"""Seconds that the program of `run_last` may take."""
_at_end = os.environ.pop("SKYWARD_AT_END", "")
"""What `run_last` runs. It is taken out of the environment, since pools that a task opens have supervisors, too."""


def adopt_orphans() -> None:
    """Make every descendant of this process its child once its own parent has ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux; elsewhere the lease's end does it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def end_all() -> None:
    """End and reap every child of this process, and their children, which become its own."""
    begun = time.monotonic()
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        waited = time.monotonic() - begun
        if waited > _FIRMLY:
            return
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGTERM if waited < _POLITE else signal.SIGKILL)
        time.sleep(0.002)  # SIGCHLD cuts no sleep short once it has a handler; nothing else is left to do here


def _children() -> list[int]:
    """This process's children, as ``/proc/PID/stat`` has them: the parent is the second field after the name."""
    if not os.path.isdir("/proc/self"):
        return []
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{entry}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(entry))
    return found


def remove_folder(folder: str) -> None:
    """Remove a folder with what is in it, as far as that is possible (``shutil`` would load every compressor)."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                remove_folder(entry.path)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        os.rmdir(folder)


def run_last() -> None:
    """Run the shell script that ``SKYWARD_AT_END`` has named: it takes away what was set up for the node."""
    if _at_end:
        import subprocess

        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["/bin/sh", _at_end], stdin=subprocess.DEVNULL, timeout=_LAST, check=False)
