"""The rules of every provider, with DigitalOcean's API as the tests have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.digitalocean import DigitalOceanServer, DigitalOceanVendor

from skyward.spi import Provider
from skyward.testing import ProviderConformance
from skyward_digitalocean import DigitalOcean


class OnDroplets(ProviderConformance):
    """For rules that need real machines, one by one."""

    patience = 120.0

    def __init__(self, server: DigitalOceanServer) -> None:
        self.server = server

    def vendor(self) -> DigitalOceanVendor:
        return DigitalOceanVendor(self.server)


@pytest.mark.slow
def test_somebody_else_at_a_droplets_address_is_sent_nothing(digitalocean: DigitalOceanServer) -> None:
    OnDroplets(digitalocean).test_a_wrong_host_key_is_refused(DigitalOcean())


class TestDigitalOcean(ProviderConformance):
    patience = 90.0
    longest_pause = 0.2
    cancellations = 6

    @pytest.fixture(autouse=True)
    def _served(self, digitalocean_api: DigitalOceanServer) -> Iterator[None]:
        self.server = digitalocean_api
        with DigitalOceanServer() as self.other:
            yield

    @pytest.fixture
    def provider(self) -> Provider:
        return DigitalOcean()

    def vendor(self) -> DigitalOceanVendor:
        return DigitalOceanVendor(self.server)

    def unauthorised(self) -> Provider:
        return DigitalOcean(endpoint=self.other.endpoint)  # which has another token
