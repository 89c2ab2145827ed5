"""The rules of every provider, with real containers."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

import pytest

from skyward.testing import ProviderConformance


@pytest.mark.slow
class TestContainer(ProviderConformance):
    short_life = 2.0
    short_lease = 2.0
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    def existing(self) -> Collection[str]:
        command = ["podman", "ps", "--all", "--filter", "label=skyward.pool", "--format", "{{.Names}}"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return [name for name in names if "-conformance-" in name]
