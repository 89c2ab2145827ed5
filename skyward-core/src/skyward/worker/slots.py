"""The supervisor's side of the slots: forking them, reading their raw output, and ending them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skyward.worker.context import ClusterContext
from skyward.worker.deaths import how_it_died, oom_kills
from skyward.worker.family import die_with
from skyward.worker.greeting import listen
from skyward.worker.page import Page
from skyward.worker.raw import FLUSH, Output, RawEnd
from skyward.worker.shared import Shelf
from skyward.worker.slot import Slot

__all__ = ["SlotProcess"]

_EARLY = 5.0
"""Seconds before which the end of a process that has run no task counts as a failure to start."""


class SlotProcess:
    """One slot as its supervisor sees it: process, page, listening socket, and pipes behind its descriptors 1 and 2.

    The listening socket outlives the process, so that a client can already be waiting for the next one.
    """

    def __init__(self, index: int, directory: str, token: bytes, preload: Sequence[str] = ()) -> None:
        self.index = index
        self._preload = preload
        self.generation = 0
        self.pid = 0
        self.outputs: list[Output] = []
        self.page = Page(directory)
        self.killed_for = ""
        self.failed_starts = 0
        self._begun = (0.0, 0)
        self._token = token
        self._directory = directory
        self._kills = (0, 0)  # of the kernel for memory, as they were at the last two notes
        self._listener = listen(os.path.join(directory, f"slot-{index}.sock"))

    def start(self, cluster: ClusterContext, environment: Mapping[str, str], close: Callable[[], None]) -> None:
        """Fork the slot. ``close`` releases, in the child, what belongs to the supervisor alone."""
        pipes = [os.pipe(), os.pipe()]
        self.generation += 1
        self.killed_for = ""
        self._kills = (oom_kills(),) * 2
        self._begun = (time.monotonic(), self.page.started)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            for _, write in pipes:
                os.close(write)
            self.pid = pid
            self.outputs = [Output(pipes[0][0], "stdout"), Output(pipes[1][0], "stderr")]
            return
        try:  # the child never returns into the supervisor's code
            os.setpgid(0, 0)
            die_with(parent)
            close()
            _redirect(pipes)
            for name in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, FLUSH):
                signal.signal(name, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            _prefer_as_victim()
            os.environ.update(environment)
            raw = RawEnd(self.page, parent, [read for read, _ in pipes])
            shelf = Shelf(self._directory, f"slot-{self.index}")
            Slot(
                self._listener,
                self._token,
                self.page,
                cluster,
                raw=raw,
                shelf=shelf,
                generation=self.generation,
                preload=self._preload,
            ).serve()
        except BaseException:  # noqa: BLE001  shown on the raw output, which the supervisor forwards
            import traceback

            with contextlib.suppress(Exception):
                os.write(2, traceback.format_exc().encode(errors="replace"))
        finally:
            os._exit(1)

    def note_kills(self) -> None:
        """Count from the note before this one on whether the kernel kills for memory.

        Not from here on, since a process that it has killed already may take a while to die.
        """
        self._kills = (self._kills[1], oom_kills())

    def end_group(self) -> None:
        """Kill what the tasks of this slot have started and left in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self, status: int) -> dict[str, Any]:
        """Describe the death of the process that ended with ``status``, and make room for the next one."""
        facts: dict[str, Any] = how_it_died(status, kills_before=self._kills[0], kills_now=oom_kills())
        facts |= {"slot": self.index, "generation": self.generation, "killed_for": self.killed_for}
        facts |= {"running": self.page.running, "started": self.page.started, "recalled": self.page.recalled}
        begun, started = self._begun
        early = time.monotonic() - begun < _EARLY and self.page.started == started
        self.failed_starts = self.failed_starts + 1 if early else 0
        self.page.finish()
        self.page.raw = self.page.flush = False
        if self.page.started == started:  # what may have killed it is not imported ahead, but by the tasks that need it
            self._preload = ()
        self.pid = 0
        self._drain_backlog()
        return facts

    def kill(self, why: str) -> None:
        """End the slot and what it has started, for the reason that its death will be reported with."""
        if self.pid:
            self.killed_for = why
            self.end_group()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill_task(self, sequence: int) -> None:
        """End the slot if it still runs this task, which did not react to its interrupt."""
        with self.page.locked():  # so that the one behind it does not begin and suffer instead
            if self.page.running == sequence:
                self.kill("cancelled")

    def interrupt(self, sequence: int) -> bool:
        """Ask a task to stop; False when it has ended already."""
        self.page.cancel(sequence)
        if self.pid and self.page.running == sequence:
            os.kill(self.pid, signal.SIGINT)
            return True
        return self.page.started < sequence  # it has not begun, and will be stopped when it does

    def close_inherited(self) -> None:
        """In another slot's child: let go of this slot's descriptors."""
        self._listener.close()
        self.page.close()
        for output in self.outputs:
            output.close()

    def _drain_backlog(self) -> None:
        """Close connections that nobody will serve, so that their client sees the end and connects anew."""
        self._listener.setblocking(False)
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return


def _redirect(pipes: list[tuple[int, int]]) -> None:
    """Point descriptors 1 and 2 at the pipes, and 0 at nothing."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for number, (_, write) in enumerate(pipes, 1):
        os.dup2(write, number)
        os.close(write)


def _prefer_as_victim() -> None:
    """When memory runs out, have the kernel take the slot before the supervisor, which can then tell of it (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+") as file:
            adjusted = min(1000, int(file.read()) + 100)
            file.seek(0)
            file.write(str(adjusted))
