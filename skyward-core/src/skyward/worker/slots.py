"""The supervisor's side of the slots: forking them, reading their raw output, and ending them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from skyward.worker.context import ClusterContext
from skyward.worker.deaths import how_it_died, oom_kills
from skyward.worker.greeting import listen
from skyward.worker.page import Page
from skyward.worker.slot import Slot
from skyward.worker.lines import LineSplitter

__all__ = ["SlotProcess"]

_PR_SET_PDEATHSIG = 1


class SlotProcess:
    """One slot as its supervisor sees it: process, page, listening socket, and the pipe behind its descriptors 1 and 2.

    The listening socket outlives the process, so that a client can already be waiting for the next one.
    """

    def __init__(self, index: int, directory: str, token: bytes) -> None:
        self.index = index
        self.generation = 0
        self.pid = 0
        self.output = -1
        self.lines = LineSplitter()
        self.page = Page(directory)
        self.killed_for = ""
        self._token = token
        self._kills_before = 0
        self.path = os.path.join(directory, f"slot-{index}.sock")
        self._listener = listen(self.path)

    def start(self, cluster: ClusterContext, environment: Mapping[str, str], close: Callable[[], None]) -> None:
        """Fork the slot. ``close`` releases, in the child, what belongs to the supervisor alone."""
        read, write = os.pipe()
        self.generation += 1
        self.killed_for = ""
        self.lines = LineSplitter()
        self._kills_before = oom_kills()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(write)
            os.set_blocking(read, False)
            self.pid, self.output = pid, read
            return
        code = 1
        try:  # the child never returns into the supervisor's code
            os.close(read)
            os.setpgid(0, 0)
            _die_with(parent)
            close()
            _redirect(write)
            for name in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
                signal.signal(name, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.environ.update(environment)
            Slot(self._listener, self._token, self.page, cluster).serve()
        except BaseException:  # noqa: BLE001  shown on the raw output, which the supervisor forwards
            import traceback

            traceback.print_exc(file=sys.__stderr__)
            with contextlib.suppress(Exception):
                sys.__stderr__.flush()  # type: ignore[union-attr]
        finally:
            os._exit(code)

    def reap(self, status: int) -> dict[str, Any]:
        """Describe the death of the process that ended with ``status``, and make room for the next one."""
        facts: dict[str, Any] = how_it_died(status, kills_before=self._kills_before, kills_now=oom_kills())
        facts |= {"slot": self.index, "running": self.page.running, "started": self.page.started}
        facts["killed_for"] = self.killed_for
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what the task has started itself
        self.page.finish()
        self.pid = 0
        self._drain_backlog()
        return facts

    def kill(self, why: str) -> None:
        """End the slot and what it has started, for the reason that its death will be reported with."""
        if self.pid:
            self.killed_for = why
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def interrupt(self, sequence: int) -> bool:
        """Ask the running task to stop; False when it is not this one that runs."""
        self.page.cancel(sequence)
        if not self.pid or self.page.running != sequence:
            return False
        os.kill(self.pid, signal.SIGINT)
        return True

    def close_inherited(self) -> None:
        """In another slot's child: let go of this slot's descriptors."""
        self._listener.close()
        self.page.close()
        if self.output >= 0:
            os.close(self.output)

    def _drain_backlog(self) -> None:
        """Close connections that nobody will serve, so that their client sees the end and connects anew."""
        self._listener.setblocking(False)
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the supervisor dies (Linux; elsewhere the lease's end does it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _redirect(write: int) -> None:
    """Point descriptors 1 and 2 at the pipe, and 0 at nothing."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(write, 1)
    os.dup2(write, 2)
    os.close(null)
    os.close(write)
