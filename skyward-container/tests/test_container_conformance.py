"""The rules of every provider, with real containers."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

import pytest

from skyward.testing import Fault, ProviderConformance, Vendor

PODMAN = "podman"


class Engine:
    """The engine as a vendor: things end there, and nothing else goes wrong on demand."""

    faults: Collection[Fault] = ()

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        raise AssertionError(f"the engine does not play {fault.name} {times} time(s)")

    def end(self, name: str, /) -> None:
        subprocess.run((PODMAN, "kill", name), capture_output=True, check=True)

    def creates(self) -> int:
        return 0  # which only the faults of orders ask for

    def existing(self) -> Collection[str]:
        return self._names("ps", "--all", "--format", "{{.Names}}")

    def belongings(self) -> Collection[str]:
        return self._names("network", "ls", "--format", "{{.Name}}")

    def secrets(self) -> Collection[str]:
        return ()

    def reset(self) -> None:
        pass

    def _names(self, *question: str) -> list[str]:
        command = (PODMAN, *question, "--filter", "label=skyward.pool")
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return [name for name in names if "-conformance-" in name]


@pytest.mark.slow
class TestContainer(ProviderConformance):
    short_life = 2.0
    short_lease = 2.0
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    def vendor(self) -> Vendor:
        return Engine()
