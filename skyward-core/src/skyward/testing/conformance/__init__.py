"""The conformance kit: subclass a class of it, supply one fixture, and pytest runs the rules of that contract.

    class TestAcme(ProviderConformance):
        @pytest.fixture
        def provider(self) -> Acme:
            return Acme(endpoint=fake_server.url)

A rule that is broken raises :class:`Broken`, whose message says the fact and what to do. What a provider declares in
its ``Capabilities`` opens and closes tests; a closed one is skipped and names the capability. A test of the kit can be
overridden only with a stated reason, by :func:`deviates`. None of these modules needs pytest to be imported.
"""

from __future__ import annotations

from skyward.testing.conformance._allocation import AllocationConformance
from skyward.testing.conformance._integration import IntegrationConformance
from skyward.testing.conformance._kit import Broken, deviates
from skyward.testing.conformance._provider import ProviderConformance
from skyward.testing.conformance._selector import SelectorConformance

__all__ = [
    "AllocationConformance",
    "Broken",
    "IntegrationConformance",
    "ProviderConformance",
    "SelectorConformance",
    "deviates",
]
