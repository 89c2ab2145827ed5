"""What goes wrong, by script: a test says beforehand which calls fail, and how."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

__all__ = ["EVER", "Faults", "Plan"]

EVER = 10**9
"""As ``times``: for all calls to come."""


@frozen
class Plan:
    """What is to happen with one call."""

    status: int | None = None
    """The answer's status in place of the real one."""
    body: Any = None
    """Its body; ``None`` for what the vendor says with this status."""
    headers: Mapping[str, str] = field(factory=dict)
    effect: bool = True
    """Whether the call does what it asks for."""
    lost: bool = False
    """The connection ends without an answer."""
    before: Callable[[], object] | None = None
    """Is waited for before the effect."""
    behind: Callable[[], object] | None = None
    """Is waited for between the effect and the answer."""


@define
class _Fault:
    what: str
    plan: Plan
    times: int
    after: int


@define
class Faults:
    """Faults by method and path (``POST /v2/pods``, ``* /v2/pods/*``), in the order of the script.

    Each holds for ``times`` calls, after the first ``after`` calls that it would have held for have been let through.
    The path is the one that is asked for, without its query and without a slash at its end; ``*`` stands for anything,
    slashes as well.
    """

    _script: list[_Fault] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)
    _over: threading.Event = field(factory=threading.Event)

    def fail(
        self,
        what: str,
        status: int,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Refuse calls, which then have no effect. Without a ``body`` it is what the vendor says with that status."""
        self._add(what, Plan(status, body, headers or {}, effect=False), times, after)

    def fail_after(
        self,
        what: str,
        status: int,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Let calls have their effect, and answer with an error."""
        self._add(what, Plan(status, body, headers or {}), times, after)

    def lose(self, what: str, *, effect: bool = True, times: int = 1, after: int = 0) -> None:
        """Let calls have their effect (or not), and cut the connection instead of an answer."""
        self._add(what, Plan(effect=effect, lost=True), times, after)

    def delay(
        self,
        what: str,
        until: threading.Event | Callable[[], object],
        *,
        behind: bool = False,
        times: int = EVER,
        after: int = 0,
    ) -> None:
        """Let calls wait before they have an effect, or ``behind`` it and before their answer.

        They wait for an event, or until a function returns. The end of the server ends the wait for an event as well.
        """
        wait = (lambda: self._wait(until)) if isinstance(until, threading.Event) else until
        self._add(what, Plan(behind=wait) if behind else Plan(before=wait), times, after)

    def next(self, what: str) -> Plan:
        """What is to happen with this call; it counts."""
        with self._lock:
            for fault in self._script:
                if fault.times and fnmatch.fnmatchcase(what, fault.what):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault.plan
        return Plan()

    def left(self) -> list[str]:
        """What was scripted and has not happened yet, but for faults that hold for ever."""
        with self._lock:
            return [fault.what for fault in self._script if 0 < fault.times < EVER // 2]

    def clear(self) -> None:
        """Forget the script."""
        with self._lock:
            self._script.clear()

    def close(self) -> None:
        """Let go whatever waits."""
        self._over.set()

    def _wait(self, event: threading.Event) -> None:
        while not event.wait(0.1) and not self._over.is_set():
            pass

    def _add(self, what: str, plan: Plan, times: int, after: int) -> None:
        with self._lock:
            self._script.append(_Fault(what, plan, times, after))
