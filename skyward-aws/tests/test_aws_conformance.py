"""The rules of every provider, with moto for AWS."""

from __future__ import annotations

import pytest
from rig.rig import Rig
from rig.vendor import RigVendor

from skyward import Image
from skyward.spi import ComputeSpec, Provider
from skyward.testing import ProviderConformance, Vendor
from skyward_aws import AWS


@pytest.mark.slow
class TestAWS(ProviderConformance):
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    @pytest.fixture(autouse=True)
    def _rig(self, aws_api: Rig) -> None:
        self.rig = RigVendor(aws_api, "us-east-1", "eu-west-1")

    @pytest.fixture
    def provider(self) -> AWS:
        return AWS(ssh_from=("198.51.100.7/32",), reap_regions=("eu-west-1",))

    def spec(self) -> ComputeSpec:
        return ComputeSpec(nodes=2, image=Image())

    def unauthorised(self) -> Provider | None:
        return AWS(profile="nobody-has-this-one")

    def vendor(self) -> Vendor:
        return self.rig
