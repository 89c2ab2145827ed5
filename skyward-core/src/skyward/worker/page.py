"""The page of memory that a slot shares with its supervisor: what runs, what was cancelled, what was taken back.

Tasks on a slot are numbered by a sequence that the client counts up, so "has it started" is a comparison. Starting a
task that was sent ahead and taking it back again exclude each other by a record lock on the page's file: exactly one
of "the slot runs it" and "the client may give it to another slot" is true, and the kernel drops the lock when its
holder dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from typing import Final

__all__ = ["Page"]

_STARTED, _RUNNING, _CANCELLED, _RECALLED = (8 * i for i in range(4))


class Page:
    """Four numbers in shared memory: the sequence last started, the one running (0 for none), cancelled, recalled."""

    __slots__ = ("_descriptor", "_memory")

    def __init__(self, directory: str) -> None:
        handle, path = tempfile.mkstemp(dir=directory, prefix="page-")
        os.unlink(path)
        os.ftruncate(handle, mmap.PAGESIZE)
        self._descriptor = handle
        self._memory = mmap.mmap(handle, mmap.PAGESIZE)

    def _get(self, offset: int) -> int:
        return int.from_bytes(self._memory[offset : offset + 8], "little")

    def _set(self, offset: int, value: int) -> None:
        self._memory[offset : offset + 8] = value.to_bytes(8, "little")

    @property
    def started(self) -> int:
        """Sequence of the task that was started last; every one up to it has been started or taken back."""
        return self._get(_STARTED)

    @property
    def running(self) -> int:
        """Sequence of the task that runs, 0 when the slot is idle."""
        return self._get(_RUNNING)

    @property
    def cancelled(self) -> int:
        """Sequence of the task that was cancelled last."""
        return self._get(_CANCELLED)

    def start(self, sequence: int, *, ahead: bool) -> bool:
        """Slot: claim a task. False means that it was taken back and must not run."""
        if not ahead:
            self._memory[:16] = sequence.to_bytes(8, "little") * 2
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            if self._get(_RECALLED) >= sequence:
                return False
            self._memory[:16] = sequence.to_bytes(8, "little") * 2
            return True
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def finish(self) -> None:
        """Slot: the task has ended."""
        self._memory[8:16] = bytes(8)

    def cancel(self, sequence: int) -> None:
        """Supervisor: the task is to be interrupted."""
        self._set(_CANCELLED, sequence)

    def recall(self, sequence: int) -> bool:
        """Supervisor: take back a task that was sent ahead. True when the slot will never run it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            if self._get(_STARTED) >= sequence:
                return False
            self._set(_RECALLED, sequence)
            return True
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unmap the page; the memory goes with its last user."""
        self._memory.close()
        os.close(self._descriptor)
