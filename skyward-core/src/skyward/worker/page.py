"""The page of memory that a slot shares with its supervisor: what runs, what was cancelled, what was taken back.

Tasks on a slot are numbered by a sequence that the client counts up, so "has it started" is a comparison, and a task
that arrives a second time after a dropped connection is known by its number. Starting a task that was sent ahead and
taking it back again exclude each other by a record lock on the page's file: exactly one of "the slot runs it" and
"the client may give it to another slot" is true, and the kernel drops the lock when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator

__all__ = ["Page"]

_STARTED, _RUNNING, _TASK, _CANCELLED, _RAW, _FLUSH, _RAW_LINES = (8 * i for i in range(7))
_RECALLED = 64
_REMEMBERED = (4096 - _RECALLED) // 8
"""Tasks taken back that the page remembers, each at the place that its sequence has modulo this number."""


class Page:
    """Numbers in shared memory: the sequences last started, running (0 for none), cancelled, and taken back."""

    __slots__ = ("_cells", "_descriptor", "_memory")

    def __init__(self, directory: str) -> None:
        self._descriptor = _nameless_file(directory)
        os.ftruncate(self._descriptor, mmap.PAGESIZE)
        self._memory = mmap.mmap(self._descriptor, mmap.PAGESIZE)
        self._cells = memoryview(self._memory).cast("Q")  # each is read and written in one piece

    def _get(self, offset: int) -> int:
        return self._cells[offset >> 3]

    def _set(self, offset: int, value: int) -> None:
        self._cells[offset >> 3] = value

    @property
    def started(self) -> int:
        """Sequence of the task that was started last; every one up to it was started or taken back."""
        return self._get(_STARTED)

    @property
    def running(self) -> int:
        """Sequence of the task that runs, 0 when the slot is idle."""
        return self._cells[_RUNNING >> 3]

    @property
    def task(self) -> int:
        """The pool's own number of the task that was started last, 0 before the first."""
        return self._get(_TASK)

    @property
    def cancelled(self) -> int:
        """Sequence of the task that was cancelled last."""
        return self._cells[_CANCELLED >> 3]

    @property
    def recalled(self) -> list[int]:
        """Sequences that were taken back, as far as they are remembered."""
        return [found for place in range(_REMEMBERED) if (found := self._get(_RECALLED + 8 * place))]

    @property
    def raw(self) -> bool:
        """Whether the supervisor is forwarding raw output, or holds an unfinished line of it."""
        return self._memory[_RAW] != 0

    @raw.setter
    def raw(self, value: bool) -> None:
        self._memory[_RAW] = value

    @property
    def flush(self) -> bool:
        """Whether the slot waits for its raw output to be forwarded."""
        return self._memory[_FLUSH] != 0

    @flush.setter
    def flush(self, value: bool) -> None:
        self._memory[_FLUSH] = value

    @property
    def raw_lines(self) -> int:
        """Lines of raw output that the supervisor has forwarded, of all processes that have been this slot."""
        return self._cells[_RAW_LINES >> 3]

    @raw_lines.setter
    def raw_lines(self, value: int) -> None:
        self._set(_RAW_LINES, value)

    def start(self, sequence: int, task: int, *, ahead: bool) -> bool:
        """Slot: claim a task. False means that it was taken back, or has run already, and must not run."""
        if ahead:
            with self.locked():
                return self._get(_place(sequence)) != sequence and self.start(sequence, task, ahead=False)
        cells = self._cells
        if cells[_STARTED >> 3] >= sequence:
            return False
        cells[_TASK >> 3] = task
        cells[_RUNNING >> 3] = sequence
        cells[_STARTED >> 3] = sequence
        return True

    def finish(self) -> None:
        """Slot: the task has ended."""
        self._cells[_RUNNING >> 3] = 0

    def cancel(self, sequence: int) -> None:
        """Supervisor: the task is to be interrupted."""
        self._set(_CANCELLED, sequence)

    def recall(self, sequence: int) -> bool:
        """Supervisor: take back a task that was sent ahead. True when the slot will never run it.

        Asked again, it says the same again.
        """
        place = _place(sequence)
        with self.locked():
            held = self._get(place)
            if held == sequence:
                return True
            started = self._get(_STARTED)
            if started >= sequence or held > started:  # the place is another's, whom the slot has not met yet
                return False
            self._set(place, sequence)
            return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other side from starting a task that was sent ahead, or from taking one back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unmap the page; the memory goes with its last user."""
        self._cells.release()
        self._memory.close()
        os.close(self._descriptor)


def _place(sequence: int) -> int:
    return _RECALLED + 8 * (sequence % _REMEMBERED)


def _nameless_file(directory: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("skyward-page")
    path = os.path.join(directory, f"page-{os.urandom(4).hex()}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return descriptor
