"""The rules of every provider, with a RunPod whose pods are pretended."""

from __future__ import annotations

import pytest
from fakes.runpod import Fake, RunPodVendor

from skyward.spi import Provider
from skyward.testing import ProviderConformance, Vendor
from skyward_runpod import RunPod


@pytest.mark.slow
@pytest.mark.usefixtures("hurry")
class TestRunPod(ProviderConformance):
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    @pytest.fixture(autouse=True)
    def _fake(self, runpod_api: Fake) -> None:
        self.fake = runpod_api

    @pytest.fixture
    def provider(self) -> RunPod:
        return RunPod()

    def unauthorised(self) -> Provider | None:
        return RunPod(profile="nobody-has-this-one")

    def vendor(self) -> Vendor | None:
        made: Vendor = RunPodVendor(self.fake)
        return made
