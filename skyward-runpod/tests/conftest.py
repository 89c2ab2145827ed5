"""A RunPod for the tests, see tests/vendors/fakes/runpod; and pools' sessions with it."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import runpod as runpod
from fakes.fixtures import runpod_api as runpod_api
from fakes.fixtures import vendor_yard as vendor_yard

from skyward import Image, _clock
from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity
from skyward_runpod import RunPod
from skyward_runpod._session import RunPodSession


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a key of their own."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the tests that are coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


class Hurry:
    """A clock by which pauses between two questions to a vendor take no time."""

    def __init__(self) -> None:
        self.paused: list[float] = []

    def monotonic(self) -> float:
        return time.monotonic() + sum(self.paused)

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def hurry() -> Iterator[Hurry]:
    """Nobody waits between two questions; the pauses are kept."""
    clock = Hurry()
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
def opened(identity: Callable[..., PoolIdentity]) -> Callable[..., AbstractAsyncContextManager[RunPodSession]]:
    """Opens sessions; arguments are the pool's identity, and settings."""

    @asynccontextmanager
    async def make(who: PoolIdentity | None = None, /, **settings: Any) -> AsyncGenerator[RunPodSession]:
        session = await RunPod(**settings).open(who or identity())
        try:
            yield session
        finally:
            await session.close()

    return make


@pytest.fixture
def wish() -> Callable[..., ComputeSpec]:
    """Makes requests."""

    def make(**changes: Any) -> ComputeSpec:
        return ComputeSpec(**{"nodes": 1, "image": Image(), **changes})

    return make


@pytest.fixture
def order(wish: Callable[..., ComputeSpec]) -> Callable[..., Any]:
    """Orders the cheapest that meets a request; returns the session's machines."""

    async def make(session: RunPodSession, *nodes: int, **changes: Any) -> Any:
        spec = wish(**changes)
        offers = await session.offers(spec)
        return await session.launch(LaunchRequest(offer=offers[0], nodes=nodes or (0,), spec=spec))

    return make
