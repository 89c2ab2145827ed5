"""Both integrations keep the rules of integrations."""

from __future__ import annotations

import pytest

from skyward.spi import Integration
from skyward.testing import IntegrationConformance
from skyward_sklearn import joblib, sklearn


class TestJoblib(IntegrationConformance):
    @pytest.fixture
    def integration(self) -> Integration:
        return joblib()


class TestSklearn(IntegrationConformance):
    @pytest.fixture
    def integration(self) -> Integration:
        return sklearn()
