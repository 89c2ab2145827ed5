"""Sessions with the moons of the tests: what the tests of them share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rest_moons import Moons, MoonServer, MoonSession, identity
from rest_server import served

from skyward.spi import InstanceState
from skyward.testing._hurry import HurriedClock, hurried


@pytest.fixture
def sky() -> Iterator[MoonServer]:
    with served(MoonServer()) as running:
        yield running
        assert running.moons["m0"] == {"id": "m0", "label": "skyward-of-a-stranger", "state": "up", "ip": "10.9.9.9"}


@pytest.fixture(autouse=True)
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


@asynccontextmanager
async def opened(sky: MoonServer, pool_id: str = "a1b2c3d4e5", **more: Any) -> AsyncIterator[MoonSession]:
    session = await Moons(sky.endpoint).open(identity(pool_id, **more))
    try:
        yield session
    finally:
        await session.close()


def on_a_loop[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the server is on threads of its own
            await asyncio.sleep(0.001)


def states(found: Any) -> dict[str, InstanceState]:
    return {each.id: each.state for each in (found.values() if hasattr(found, "values") else found)}
