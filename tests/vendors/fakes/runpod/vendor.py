"""The fake as the conformance kit sees it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection

from skyward.testing import Fault

from .server import LOW_BALANCE, SOLD_OUT, Fake

__all__ = ["RunPodVendor"]

_CREATE, _DELETE = "POST /v2/pods", "DELETE /v2/pods/*"


class RunPodVendor:
    """What the kit may do to a server whose pods are pretended."""

    faults: Collection[Fault] = frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def __init__(self, server: Fake) -> None:
        self.server = server

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        script = self.server.faults
        play: dict[Fault, Callable[[], None]] = {
            Fault.LOST_REPLY: lambda: script.lose(_CREATE, times=times),
            Fault.ERROR_AFTER_CREATE: lambda: script.fail_after(_CREATE, 500, times=times),
            Fault.ERROR_BEFORE_CREATE: lambda: script.fail(_CREATE, 502, times=times),
            Fault.THROTTLED: lambda: script.fail("*", 429, times=times),
            Fault.NO_CAPACITY: lambda: script.fail(_CREATE, 400, body=SOLD_OUT, times=times),
            Fault.QUOTA: lambda: script.fail(_CREATE, 402, body=LOW_BALANCE, times=times),
            Fault.REFUSED_CREDENTIALS: lambda: script.fail("*", 401, times=times),
            Fault.PARTIAL: lambda: script.fail(_CREATE, 400, body=SOLD_OUT, times=times, after=1),
            Fault.TERMINATE_FAILS: lambda: script.fail(_DELETE, 500, times=times),
            Fault.SLOW_BOOT: lambda: self._add(slow=times),
            Fault.STUCK: lambda: self._add(stuck=times),
        }
        play[fault]()

    def _add(self, *, slow: int = 0, stuck: int = 0) -> None:
        with self.server.lock:
            self.server.slow += slow
            self.server.stuck += stuck

    def end(self, name: str, /) -> None:
        self.server.stop(name)

    def creates(self) -> int:
        return len(self.server.asked(_CREATE))

    def existing(self) -> Collection[str]:
        return set(self.server.ours)

    def belongings(self) -> Collection[str]:
        return ()

    def secrets(self) -> Collection[str]:
        with self.server.lock:
            return {self.server.token, *(pod.key for pod in self.server.pods.values())}

    def user_data(self, name: str, /) -> str:
        variables = self.server.ours[name].env
        return base64.b64decode(variables.get("SKYWARD_BOOT", "")).decode()

    def reset(self) -> None:
        self.server.faults.clear()
        self.server.stuck = self.server.slow = self.server.unreachable = 0
