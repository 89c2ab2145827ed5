"""For the tests of plugins and of users' own scripts: a cloud in memory, and time that passes when a test says so.

Nothing here needs pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward.testing._clock import VirtualClock
    from skyward.testing._cloud import FakeCloud
    from skyward.testing._faults import Fault, SeesUserData, Vendor
    from skyward.testing._left import no_machines_left
    from skyward.testing._machine import FakeMachine
    from skyward.testing._offers import on_demand, spot
    from skyward.testing._provider import FakeProvider
    from skyward.testing._script import After, Hang, Late
    from skyward.testing.conformance import (
        AllocationConformance,
        Broken,
        IntegrationConformance,
        ProviderConformance,
        SelectorConformance,
        deviates,
    )
else:
    _HOMES = {
        "After": "_script",
        "AllocationConformance": "conformance",
        "Broken": "conformance",
        "FakeCloud": "_cloud",
        "FakeMachine": "_machine",
        "FakeProvider": "_provider",
        "Fault": "_faults",
        "Hang": "_script",
        "IntegrationConformance": "conformance",
        "Late": "_script",
        "ProviderConformance": "conformance",
        "SeesUserData": "_faults",
        "SelectorConformance": "conformance",
        "Vendor": "_faults",
        "VirtualClock": "_clock",
        "deviates": "conformance",
        "no_machines_left": "_left",
        "on_demand": "_offers",
        "spot": "_offers",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'skyward.testing' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"skyward.testing.{_HOMES[name]}"), name)


__all__ = [
    "After",
    "AllocationConformance",
    "Broken",
    "FakeCloud",
    "FakeMachine",
    "FakeProvider",
    "Fault",
    "Hang",
    "IntegrationConformance",
    "Late",
    "ProviderConformance",
    "SeesUserData",
    "SelectorConformance",
    "Vendor",
    "VirtualClock",
    "deviates",
    "no_machines_left",
    "on_demand",
    "spot",
]


def __dir__() -> list[str]:
    return __all__
