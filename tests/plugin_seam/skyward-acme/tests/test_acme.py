"""Acme keeps the rules of a provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_acme import TOKEN, FakeAcme
from skyward_acme import Acme

from skyward.spi import Provider
from skyward.testing import ProviderConformance


class TestAcme(ProviderConformance):
    longest_pause = 0.1
    cancellations = 4

    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Acme]:
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        self.fake = FakeAcme()
        yield Acme(endpoint=self.fake.endpoint)
        self.fake.close()
        assert self.fake.machines["m-0"]["state"] == "on", "a stranger's machine was touched"

    def vendor(self) -> FakeAcme:
        return self.fake

    def unauthorised(self) -> Provider:
        return Acme(endpoint=f"{self.fake.endpoint}/nobody")
