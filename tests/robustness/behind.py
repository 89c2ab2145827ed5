"""Pools over SSH through a relay, for the tests that let the network fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sshd_here import OverSsh
from tcp_relay import TcpRelay

import skyward as sky

__all__ = ["behind", "noting", "ran"]


@pytest.fixture
def behind(sshd: Any, ssh_root: str, make_relay: Any, small: Any) -> Callable[..., tuple[TcpRelay, sky.ComputePool]]:
    """Makes a relay before the server, and a pool behind it. ``delay`` is the relay's, one way, in seconds."""

    def make(
        plan: Any = lambda _: (None, None), *, delay: float = 0.0, **options: Any
    ) -> tuple[TcpRelay, sky.ComputePool]:
        relay = make_relay(sshd.port, plan, delay)
        provider = OverSsh(address=sshd.address(port=relay.port), root=ssh_root)
        return relay, small(provider=provider, **{"lease": 20.0, **options})

    return make


def noting(folder: Path) -> Any:
    """A function that gives back what it gets, prints a line, and leaves a file for each time that it runs."""

    @sky.compute
    def note(number: int, data: bytes) -> tuple[int, bytes]:
        import secrets

        (folder / f"{number}.{secrets.token_hex(4)}").touch()
        print("line", number)
        return number, data

    return note


def ran(folder: Path) -> list[int]:
    """The numbers with which that function ran, each as often as it did."""
    return sorted(int(path.name.partition(".")[0]) for path in folder.iterdir())
