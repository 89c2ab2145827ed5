"""A Vast.ai for the tests, see tests/vendors/fakes; and sessions with it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vastai as vastai
from fakes.fixtures import vastai_api as vastai_api
from fakes.fixtures import vendor_yard as vendor_yard

from skyward import Image, _clock
from skyward.spi import ComputeSpec, PoolIdentity
from skyward_vastai import VastAI
from skyward_vastai._session import VastAISession


class Hurried:
    """A clock on which pauses are over at once: what waits for the vendor's limits does not."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await asyncio.sleep(0)


@pytest.fixture
def hurried() -> Iterator[Hurried]:
    """The clock of what is opened in the test."""
    clock = Hurried()
    with _clock.use(clock):
        yield clock


@pytest.fixture
def identity() -> Callable[..., PoolIdentity]:
    """Makes the identity of a new pool, of a client on another host."""

    def make(**changes: Any) -> PoolIdentity:
        made = PoolIdentity(
            pool_id=f"test-{secrets.token_hex(5)}",
            owner="ada@lab",
            deadline=time.time() + 3600,
            lease=600.0,
            token=secrets.token_bytes(16),
            client="elsewhere-1-2",
        )
        return evolve(made, **changes)

    return make


@pytest.fixture
def spec() -> Callable[..., ComputeSpec]:
    """Makes a request, for one node unless it says otherwise."""

    def make(**changes: Any) -> ComputeSpec:
        return evolve(ComputeSpec(nodes=1, image=Image()), **changes)

    return make


@pytest.fixture
def opened(
    hurried: Hurried, identity: Callable[..., PoolIdentity]
) -> Callable[..., AbstractAsyncContextManager[VastAISession]]:
    """Opens sessions; arguments are the pool's identity, and settings."""

    @asynccontextmanager
    async def make(who: PoolIdentity | None = None, /, **settings: Any) -> AsyncGenerator[VastAISession]:
        session = await VastAI(**settings).open(who or identity())
        try:
            yield session
        finally:
            await session.close()

    return make
