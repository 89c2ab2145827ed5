"""A Verda for the tests, see tests/vendors/fakes; and pools' sessions with it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.fixtures import verda as verda
from fakes.fixtures import verda_api as verda_api

import skyward as sky
from skyward.spi import ComputeSpec, Instance, LaunchRequest, PoolIdentity
from skyward_verda import Verda
from skyward_verda._session import VerdaSession


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have credentials of their own, which are not for them."""
    for name in ("VERDA_CLIENT_ID", "VERDA_CLIENT_SECRET", "VERDA_PROFILE", "VERDA_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERDA_HOME", str(tmp_path / "verda"))


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
def opened(identity: Callable[..., PoolIdentity]) -> Callable[..., AbstractAsyncContextManager[VerdaSession]]:
    """Opens sessions; arguments are the pool's identity, and settings."""

    @asynccontextmanager
    async def make(who: PoolIdentity | None = None, /, **settings: Any) -> AsyncGenerator[VerdaSession]:
        session = await Verda(**settings).open(who or identity())
        try:
            yield session
        finally:
            await session.close()

    return make


@pytest.fixture
def dying(identity: Callable[..., PoolIdentity]) -> Callable[..., AbstractAsyncContextManager[VerdaSession]]:
    """Opens sessions of clients that are killed at the end of the block: nothing is removed, connections end."""

    @asynccontextmanager
    async def make(who: PoolIdentity | None = None, /, **settings: Any) -> AsyncGenerator[VerdaSession]:
        session = await Verda(**settings).open(who or identity())
        try:
            yield session
        finally:
            await session._api.aclose()

    return make


@pytest.fixture
def launched() -> Callable[..., Awaitable[Sequence[Instance]]]:
    """Launches machines of the first offer that fits; arguments are a session, nodes, a spec and a market."""

    async def launch(
        session: VerdaSession, *nodes: int, spec: ComputeSpec | None = None, market: str = "on-demand"
    ) -> Sequence[Instance]:
        spec = spec or ComputeSpec(nodes=1, image=sky.Image())
        offer = next(each for each in await session.offers(spec) if each.market == market)
        return await session.launch(LaunchRequest(offer=offer, nodes=nodes or (0,), spec=spec))

    return launch


@pytest.fixture
def reap(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs ``python -m skyward reap --json`` on a host that has never seen these pools."""

    def run(*options: str) -> dict[str, Any]:
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "elsewhere")}
        environment.pop("SKYWARD_DISABLE_PLUGINS", None)
        command = (sys.executable, "-m", "skyward", "reap", "--json", "--provider", "Verda", *options)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "status": done.returncode}

    return run
