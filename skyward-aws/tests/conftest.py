"""AWS for the tests: moto, completed by the rig, and settings that lead to it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rig.fixtures import aws, aws_api, rig_api_server, rig_server

from skyward.spi import ComputeSpec, PoolIdentity
from skyward_aws import AWS

__all__ = ["aws", "aws_api", "rig_api_server", "rig_server"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk stands in a folder of the tests'."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(_cache(tmp_path_factory)))


def _cache(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is kept on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache"


@pytest.fixture
def settings() -> AWS:
    """Settings that ask nobody for this machine's address."""
    return AWS(ssh_from="198.51.100.7/32")


def identity(**changes: Any) -> PoolIdentity:
    """Of a new pool."""
    given: dict[str, Any] = {
        "pool_id": f"test-{secrets.token_hex(5)}",
        "owner": "ada@lab",
        "deadline": time.time() + 3600,
        "lease": 600.0,
        "token": secrets.token_bytes(16),
        "client": "elsewhere-1-2",
    }
    return PoolIdentity(**{**given, **changes})
