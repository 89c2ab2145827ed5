"""An AWS for the tests, see rig/__init__.py; and pools' sessions with it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rig.fixtures import aws as aws
from rig.fixtures import aws_api as aws_api
from rig.fixtures import rig_api_server as rig_api_server
from rig.fixtures import rig_server as rig_server
from rig.rig import Rig

from skyward.spi import PoolIdentity
from skyward_aws import AWS
from skyward_aws._session import AWSSession

CALLER = "198.51.100.7/32"
"""From where the rig's machines are reached."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose instances are real containers."""
    for item in items:
        if "rig_server" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker("containers")


@pytest.fixture(autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS has is kept from test to test, in a folder of the tests'."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "kept"))


@pytest.fixture
def cache(_kept: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where things are kept on disk: a folder of the test's own, with nothing in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def settings() -> AWS:
    """Settings that ask nobody for this machine's address, and look at two regions."""
    return AWS(ssh_from=(CALLER,), reap_regions=("eu-west-1",))


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
def opened(
    settings: AWS, identity: Callable[..., PoolIdentity]
) -> Callable[..., AbstractAsyncContextManager[AWSSession]]:
    """Opens sessions; arguments are the pool's identity, and settings that differ."""

    @asynccontextmanager
    async def make(who: PoolIdentity | None = None, /, **changes: Any) -> AsyncGenerator[AWSSession]:
        session = await evolve(settings, **changes).open(who or identity())
        try:
            yield session
        finally:
            await session.close()

    return make


@pytest.fixture
def reap(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs ``python -m skyward reap --json`` on a host that has never seen the rig's pools, with two regions."""

    def run(rig: Rig, *options: str) -> dict[str, Any]:
        rig.world.regions = ("eu-west-1", "us-east-1")
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "elsewhere")}
        environment.pop("SKYWARD_DISABLE_PLUGINS", None)
        command = (sys.executable, "-m", "skyward", "reap", "--json", "--provider", "AWS", *options)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "status": done.returncode}

    return run
