"""Nodes on this machine keep the rules of a provider."""

from __future__ import annotations

import pytest

import skyward as sky
from skyward.spi import Provider
from skyward.testing.conformance import ProviderConformance


class TestLocal(ProviderConformance):
    short_life = 0.5
    short_lease = 0.5
    longest_pause = 0.1

    @pytest.fixture
    def provider(self) -> Provider:
        return sky.Local()
