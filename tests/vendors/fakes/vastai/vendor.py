"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from skyward.testing import Fault

from .server import NO_CREDIT, SOLD_OUT, VastAIServer, throttled

__all__ = ["VastAIVendor"]

_CREATE, _DESTROY = "PUT /api/v0/asks/*", "DELETE /api/v0/instances/*"


class VastAIVendor:
    """What the kit may do to a server whose machines are pretended."""

    faults: Collection[Fault] = frozenset(Fault) - {Fault.WRONG_HOST_KEY}  # the key is that of the first contact

    def __init__(self, server: VastAIServer) -> None:
        self.server = server

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        script = self.server.faults
        play: dict[Fault, Callable[[], None]] = {
            Fault.LOST_REPLY: lambda: script.lose(_CREATE, times=times),
            Fault.ERROR_AFTER_CREATE: lambda: script.fail_after(_CREATE, 502, times=times),
            Fault.ERROR_BEFORE_CREATE: lambda: script.fail(_CREATE, 502, times=times),
            Fault.THROTTLED: lambda: script.fail("*", 429, body=throttled(1.0), times=times),
            Fault.NO_CAPACITY: lambda: script.fail(_CREATE, 410, body=SOLD_OUT, times=times),
            Fault.QUOTA: lambda: script.fail(_CREATE, 400, body=NO_CREDIT, times=times),
            Fault.REFUSED_CREDENTIALS: lambda: script.fail("*", 401, times=times),
            Fault.PARTIAL: lambda: script.fail(_CREATE, 410, body=SOLD_OUT, times=times, after=1),
            Fault.TERMINATE_FAILS: lambda: script.fail(_DESTROY, 500, times=times),
            Fault.SLOW_BOOT: lambda: self._add(slow=times),
            Fault.STUCK: lambda: self._add(stuck=times),
        }
        play[fault]()

    def _add(self, *, slow: int = 0, stuck: int = 0) -> None:
        with self.server.lock:
            self.server.slow += slow
            self.server.stuck += stuck

    def end(self, name: str, /) -> None:
        self.server.die(int(name))

    def creates(self) -> int:
        return len(self.server.asked(_CREATE))

    def existing(self) -> Collection[str]:
        return {str(each.id) for each in self.server.ours}

    def belongings(self) -> Collection[str]:
        return ()  # its instances have their keys, and end with them

    def secrets(self) -> Collection[str]:
        return self.server.given()

    def user_data(self, name: str, /) -> str:
        with self.server.lock:
            instance = self.server.instances.get(int(name))
            return "" if instance is None else instance.onstart or ""

    def reset(self) -> None:
        self.server.faults.clear()
        with self.server.lock:
            self.server.slow = self.server.stuck = 0
