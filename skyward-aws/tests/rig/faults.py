"""What goes wrong, by script: a test says beforehand which calls fail, and how."""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Callable

from attrs import define, field, frozen

from .wire import Refused, Request

__all__ = ["Faults", "Lag", "Plan"]

EVER = 10**9


@frozen
class Plan:
    """What is to happen with one call."""

    error: Refused | None = None
    lost: bool = False
    """The effect happens, and the connection ends without a reply."""
    wait: Callable[[], object] | None = None
    late: bool = False
    """The effect happens, and the reply is the error all the same."""


@define
class _Fault:
    action: str
    plan: Plan
    times: int
    after: int


@define
class Lag:
    """How far what is told lags behind what is: counted in the calls that would have shown it, never in seconds."""

    unseen: int = 0
    """Calls that know nothing of a new instance: lists leave it out, its id gives InvalidInstanceID.NotFound."""
    untagged: int = 0
    """Lists with a filter by tags that leave a new instance out."""
    pending: int = 1
    """Lists in which an instance is ``pending`` and has no address yet."""
    shutting_down: int = 1
    """Lists in which an instance that has been ended is ``shutting-down``."""


@define
class Faults:
    """Faults by the name of the action (``RunInstances``, ``Describe*``, ``GET bucket``), in the order of the script.

    Each holds for ``times`` calls, after the first ``after`` calls of that name have been let through.
    """

    _script: list[_Fault] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)
    seen: Counter[str] = field(factory=Counter)
    """How often each action has been called."""

    def fail(
        self, action: str, code: str, status: int = 400, *, message: str = "as scripted", times: int = 1, after: int = 0
    ) -> None:
        """Refuse calls, which then have no effect."""
        self._add(action, Plan(error=Refused(code, message, status)), times, after)

    def fail_after(self, action: str, code: str, status: int = 500, *, times: int = 1, after: int = 0) -> None:
        """Let calls have their effect, and answer with an error."""
        self._add(action, Plan(error=Refused(code, "as scripted", status), late=True), times, after)

    def throttle(self, action: str, *, times: int = 1, after: int = 0) -> None:
        """Refuse calls as those that come too often."""
        error = Refused("SlowDown" if " " in action else "RequestLimitExceeded", "Request limit exceeded.", 503)
        self._add(action, Plan(error=error), times, after)

    def lose(self, action: str, *, times: int = 1, after: int = 0) -> None:
        """Let calls have their effect, and cut the connection instead of a reply."""
        self._add(action, Plan(lost=True), times, after)

    def delay(self, action: str, wait: float | Callable[[], object], *, times: int = EVER, after: int = 0) -> None:
        """Let calls wait before they have an effect: for seconds, or until a function returns (``event.wait``)."""
        held = threading.Event()
        self._add(action, Plan(wait=wait if callable(wait) else lambda: held.wait(wait)), times, after)

    def next(self, request: Request) -> Plan:
        """What is to happen with this call; it counts."""
        with self._lock:
            self.seen[request.action] += 1
            for fault in self._script:
                if fault.times and fnmatch.fnmatchcase(request.action, fault.action):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault.plan
        return Plan()

    def clear(self) -> None:
        """Forget the script; the counts as well."""
        with self._lock:
            self._script.clear()
            self.seen.clear()

    def _add(self, action: str, plan: Plan, times: int, after: int) -> None:
        with self._lock:
            self._script.append(_Fault(action, plan, times, after))
