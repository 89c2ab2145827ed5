"""Importing ahead: what tasks will need, read and run while the pool is still being built and nobody waits for it.

It happens on a thread beside the one that runs tasks, so that the slot is there for its client meanwhile. The first
task waits for the end of it: packages that import each other in a circle do not stand being imported by two threads.
A task that is cancelled waits no longer, and the imports go on, since half of one cannot be done again: several
packages refuse to be loaded a second time in a process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import threading
import time
from collections.abc import Callable, Sequence

__all__ = ["ImportsAhead"]

_LOOK_EVERY = 0.02
"""Seconds between looks whether the task that waits was cancelled."""
_PATIENCE = 120.0
"""Seconds that a task waits at most: of a module that hangs, each task that needs it can say so better."""


class ImportsAhead:
    """Imports modules in their order. What is missing or fails is passed over.

    What they write to the descriptors 1 and 2 goes nowhere; what goes to Python's own streams is the slot's to drop.
    Garbage is not searched for meanwhile, nor later among what they have made, nearly all of which stays:
    scikit-learn's import takes a fifth less time without.

    ``names`` are those of the modules.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._begun = False
        self._collects = False
        self._over = threading.Event()
        self._outputs: list[tuple[int, int]] = []  # descriptors, and where they led before
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start with it; does nothing when it was started before."""
        if self._begun:
            return
        self._begun = True
        self._collects = gc.isenabled()
        gc.disable()
        self._silence()
        threading.Thread(target=self._work, name="skyward-imports", daemon=True).start()

    def wait(self, is_cancelled: Callable[[], bool]) -> bool:
        """Wait until it is over; False when the task that waits was cancelled before that."""
        self.begin()
        until = time.monotonic() + _PATIENCE
        while not self._over.wait(_LOOK_EVERY):
            if is_cancelled():
                return False
            if time.monotonic() > until:
                self._finish()
        return True

    def _work(self) -> None:
        try:
            for name in self._names:
                with contextlib.suppress(BaseException):  # also what a module raises to end the program
                    importlib.import_module(name)
        finally:
            self._finish()

    def _silence(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            self._outputs.append((descriptor, os.dup(descriptor)))
            os.dup2(null, descriptor)
        os.close(null)

    def _finish(self) -> None:
        with self._lock:  # the thread, or a task whose patience has come to its end
            for descriptor, before in self._outputs:
                os.dup2(before, descriptor)
                os.close(before)
            self._outputs.clear()
            if self._collects:
                gc.freeze()  # it stays, and to go through scikit-learn's alone takes 80 ms, in the middle of a task
                gc.enable()
            self._over.set()
