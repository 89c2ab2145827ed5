"""The fake cloud keeps the rules of a provider, on virtual time and with real processes for machines."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from skyward.errors import AuthenticationFailed
from skyward.spi import Provider
from skyward.testing import FakeCloud, ProviderConformance, Vendor
from skyward.testing._loop import VirtualLoop, run


class OfAFakeCloud(ProviderConformance):
    cloud: FakeCloud

    def vendor(self) -> Vendor:
        return self.cloud.vendor

    def unauthorised(self) -> Provider:
        refusal = AuthenticationFailed("the key is refused: set FAKE_API_KEY")
        self.refusing = FakeCloud(nodes="simulated", script={"open": [refusal]})
        return self.refusing.provider


class TestSimulated(OfAFakeCloud):
    short_life = 1800.0
    short_lease = 600.0

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        with FakeCloud(nodes="simulated", boot_seconds=42) as self.cloud:
            yield self.cloud.provider

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, VirtualLoop(self.cloud.clock))


class TestLocalNodes(OfAFakeCloud):
    """Its deadlines are the cloud's, which no loop moves here; leases run from when a client asks for the road."""

    longest_pause = 0.1

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        with FakeCloud(boot_seconds=42) as self.cloud:
            yield self.cloud.provider
