"""A RunPod for the tests, see tests/vendors/fakes/runpod; and pools' sessions with it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import runpod as runpod
from fakes.fixtures import runpod_api as runpod_api
from fakes.fixtures import vendor_yard as vendor_yard

from skyward import Image
from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity
from skyward_runpod import RunPod
from skyward_runpod._session import RunPodSession


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a key of their own."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)


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
