"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar, override

from fakes.vendor import FakeVendor
from skyward.testing import Fault

from .server import NO_CAPACITY, OVER_LIMIT, DigitalOceanServer

__all__ = ["DigitalOceanVendor"]


class DigitalOceanVendor(FakeVendor[DigitalOceanServer]):
    """What the kit may do to a server."""

    create, delete, broken = "POST /v2/droplets", "DELETE /v2/droplets/*", 503
    refusals: ClassVar = {
        Fault.THROTTLED: {"headers": {"retry-after": "1"}},
        Fault.NO_CAPACITY: {"status": 422, "body": NO_CAPACITY},
        Fault.QUOTA: {"status": 422, "body": OVER_LIMIT},
    }

    @property
    @override
    def faults(self) -> Collection[Fault]:
        return frozenset(Fault) if self.server.machines.real else super().faults

    @override
    def plays(self, times: int) -> dict[Fault, Callable[[], None]]:
        machines = self.server.machines
        return {**super().plays(times), Fault.WRONG_HOST_KEY: lambda: machines.next(impostor=True, times=times)}

    def end(self, name: str, /) -> None:
        self.server.power_off(int(name))

    def existing(self) -> Collection[str]:
        with self.server.lock:
            return {str(number) for number in self.server.ours}

    @override
    def belongings(self) -> Collection[str]:
        return self.server.belongings()

    def secrets(self) -> Collection[str]:
        return {self.server.token}

    def user_data(self, name: str, /) -> str:
        with self.server.lock:
            return self.server.ours[int(name)].user_data
