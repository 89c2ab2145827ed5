"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar, override

from fakes.vendor import FakeVendor
from skyward.testing import Fault

from .server import Fake
from .shelves import SOLD_OUT

__all__ = ["VerdaVendor"]


class VerdaVendor(FakeVendor[Fake]):
    """What the kit may do to a server whose machines are pretended."""

    create, delete = "POST /v1/instances", "PUT /v1/instances"
    counted = ("slow", "stuck", "refusing")
    refusals: ClassVar = {
        Fault.THROTTLED: {"headers": {"Retry-After": "1"}},
        Fault.NO_CAPACITY: {"status": 503, "body": SOLD_OUT},
        Fault.QUOTA: {"status": 402},
    }

    @override
    def plays(self, times: int) -> dict[Fault, Callable[[], None]]:
        return {**super().plays(times), Fault.REFUSED_CREDENTIALS: lambda: self.count(refusing=times)}

    def end(self, name: str, /) -> None:
        spot = self.server.held[name].facts["is_spot"]
        self.server.finish(name, "discontinued" if spot else "error")

    def existing(self) -> Collection[str]:
        return self.server.existing()

    @override
    def belongings(self) -> Collection[str]:
        return self.server.belongings()

    def secrets(self) -> Collection[str]:
        with self.server.lock:
            return {self.server.client[1], *self.server.tokens}

    def user_data(self, name: str, /) -> str:
        return self.server.machines[name].script
