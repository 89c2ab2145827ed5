"""What the tests of functions that run together share: a pool of four slots, and a way for a group to meet."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import skyward as sky

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


def together(fn: Callable[..., Any], retry: int = 0) -> sky.ComputeFunction[..., Any]:
    return sky.ComputeFunction(fn, retry, together=True)


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, concurrency=2, display="quiet", lease=60.0) as made:
        yield made


@pytest.fixture(scope="module")
def meet() -> Callable[[], int]:
    """For functions on nodes: returns once all of the group are here; gives the sum of the ranks that have come."""

    def meet() -> int:
        from skyward.spi import current_group

        group: Any = current_group()
        if group.rank:
            with socket.create_connection((group.head.address, group.head.port), 60) as link:
                link.sendall(bytes([group.rank]))
                return int(link.recv(1)[0])
        listener = group.listener()
        listener.settimeout(60)
        links = [listener.accept()[0] for _ in range(group.size - 1)]
        total: int = sum(link.recv(1)[0] for link in links)
        for link in links:
            link.sendall(bytes([total]))
            link.close()
        return total

    return meet
