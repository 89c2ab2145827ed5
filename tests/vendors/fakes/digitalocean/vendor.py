"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from skyward.testing import Fault

from .server import NO_CAPACITY, OVER_LIMIT, DigitalOceanServer

__all__ = ["DigitalOceanVendor"]

_CREATE, _DESTROY = "POST /v2/droplets", "DELETE /v2/droplets/*"
_PAUSE = {"retry-after": "1"}


class DigitalOceanVendor:
    """What the kit may do to a server."""

    def __init__(self, server: DigitalOceanServer) -> None:
        self.server = server

    @property
    def faults(self) -> Collection[Fault]:
        return frozenset(Fault) if self.server.machines.real else frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        script = self.server.faults
        play: dict[Fault, Callable[[], None]] = {
            Fault.LOST_REPLY: lambda: script.lose(_CREATE, times=times),
            Fault.ERROR_AFTER_CREATE: lambda: script.fail_after(_CREATE, 503, times=times),
            Fault.ERROR_BEFORE_CREATE: lambda: script.fail(_CREATE, 503, times=times),
            Fault.THROTTLED: lambda: script.fail("*", 429, headers=_PAUSE, times=times),
            Fault.NO_CAPACITY: lambda: script.fail(_CREATE, 422, body=NO_CAPACITY, times=times),
            Fault.QUOTA: lambda: script.fail(_CREATE, 422, body=OVER_LIMIT, times=times),
            Fault.REFUSED_CREDENTIALS: lambda: script.fail("*", 401, times=times),
            Fault.PARTIAL: lambda: script.fail(_CREATE, 422, body=NO_CAPACITY, times=times, after=1),
            Fault.TERMINATE_FAILS: lambda: script.fail(_DESTROY, 500, times=times),
            Fault.WRONG_HOST_KEY: lambda: self.server.machines.next(impostor=True, times=times),
            Fault.SLOW_BOOT: lambda: self._add(slow=times),
            Fault.STUCK: lambda: self._add(stuck=times),
        }
        play[fault]()

    def _add(self, *, slow: int = 0, stuck: int = 0) -> None:
        with self.server.lock:
            self.server.slow += slow
            self.server.stuck += stuck

    def end(self, name: str, /) -> None:
        self.server.power_off(int(name))

    def creates(self) -> int:
        return len(self.server.asked(_CREATE))

    def existing(self) -> Collection[str]:
        with self.server.lock:
            return {str(number) for number in self.server.ours}

    def belongings(self) -> Collection[str]:
        return self.server.belongings()

    def secrets(self) -> Collection[str]:
        return {self.server.token}

    def user_data(self, name: str, /) -> str:
        with self.server.lock:
            return self.server.ours[int(name)].user_data

    def reset(self) -> None:
        self.server.faults.clear()
        self.server.slow = self.server.stuck = 0
