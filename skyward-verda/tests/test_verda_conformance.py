"""The rules of every provider, with the fake for Verda."""

from __future__ import annotations

import pytest
from fakes.verda import Fake, VerdaVendor

from skyward import Image
from skyward.spi import ComputeSpec, Provider
from skyward.testing import ProviderConformance, Vendor
from skyward_verda import Verda


@pytest.mark.slow
class TestVerda(ProviderConformance):
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    @pytest.fixture(autouse=True)
    def _fake(self, verda_api: Fake) -> None:
        self.fake = verda_api

    @pytest.fixture
    def provider(self) -> Verda:
        return Verda()

    def spec(self) -> ComputeSpec:
        return ComputeSpec(nodes=2, image=Image())

    def unauthorised(self) -> Provider | None:
        return Verda(profile="nobody-has-this-one")

    def vendor(self) -> Vendor:
        vendor: Vendor = VerdaVendor(self.fake)
        return vendor
