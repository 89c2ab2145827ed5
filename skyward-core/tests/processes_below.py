"""The processes that a test has started, and that others have started for it."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Collection

import psutil

PATIENCE = 60


def below(pid: int, before: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    """What a process has started, and they in turn, except those that were there before: nodes of another test's."""
    return [process for process in psutil.Process(pid).children(recursive=True) if process not in before]


def asked[T](processes: list[psutil.Process], question: Callable[[psutil.Process], T]) -> list[T]:
    """What each of them answers that has not ended meanwhile."""
    answers: list[T] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            answers.append(question(process))
    return answers


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Return when all have ended; a zombie that nobody reaps counts as ended."""
    for process in processes:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], PATIENCE)[0], f"{process} is still running"
        finally:
            os.close(descriptor)
