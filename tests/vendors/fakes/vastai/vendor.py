"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from fakes.vendor import FakeVendor
from skyward.testing import Fault

from .server import NO_CREDIT, SOLD_OUT, VastAIServer, throttled

__all__ = ["VastAIVendor"]


class VastAIVendor(FakeVendor[VastAIServer]):
    """What the kit may do to a server whose machines are pretended. They have their keys, and these end with them."""

    create, delete, broken = "PUT /api/v0/asks/*", "DELETE /api/v0/instances/*", 502
    refusals: ClassVar = {
        Fault.THROTTLED: {"body": throttled(1.0)},
        Fault.NO_CAPACITY: {"status": 410, "body": SOLD_OUT},
        Fault.QUOTA: {"status": 400, "body": NO_CREDIT},
    }

    def end(self, name: str, /) -> None:
        self.server.die(int(name))

    def existing(self) -> Collection[str]:
        return {str(each.id) for each in self.server.ours}

    def secrets(self) -> Collection[str]:
        return self.server.given()

    def user_data(self, name: str, /) -> str:
        with self.server.lock:
            instance = self.server.instances.get(int(name))
            return "" if instance is None else instance.onstart or ""
