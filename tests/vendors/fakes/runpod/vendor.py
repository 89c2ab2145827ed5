"""The fake as the conformance kit sees it."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import ClassVar

from fakes.vendor import FakeVendor
from skyward.testing import Fault

from .server import LOW_BALANCE, SOLD_OUT, Fake

__all__ = ["RunPodVendor"]


class RunPodVendor(FakeVendor[Fake]):
    """What the kit may do to a server whose pods are pretended."""

    create, delete, broken = "POST /v2/pods", "DELETE /v2/pods/*", 502
    refusals: ClassVar = {
        Fault.NO_CAPACITY: {"status": 400, "body": SOLD_OUT},
        Fault.QUOTA: {"status": 402, "body": LOW_BALANCE},
    }

    def end(self, name: str, /) -> None:
        self.server.stop(name)

    def existing(self) -> Collection[str]:
        return set(self.server.ours)

    def secrets(self) -> Collection[str]:
        with self.server.lock:
            return {self.server.token, *(pod.key for pod in self.server.pods.values())}

    def user_data(self, name: str, /) -> str:
        variables = self.server.ours[name].env
        return base64.b64decode(variables.get("SKYWARD_BOOT", "")).decode()
