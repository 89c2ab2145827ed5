"""DigitalOcean for the tests, see tests/vendors/fakes; and pools' sessions with it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from fakes.fixtures import digitalocean as digitalocean
from fakes.fixtures import digitalocean_api as digitalocean_api
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vendor_yard as vendor_yard

from skyward.spi import PoolIdentity
from skyward_digitalocean import DigitalOcean
from skyward_digitalocean._session import DigitalOceanSession


@pytest.fixture
def identity() -> Callable[..., PoolIdentity]:
    """Makes the identity of a new pool."""

    def make(**of: Any) -> PoolIdentity:
        return PoolIdentity(
            **{
                "pool_id": secrets.token_hex(5),
                "owner": "Ada@lab.example",
                "client": f"elsewhere-{secrets.token_hex(4)}",
                "deadline": time.time() + 3600,
                "lease": 600.0,
                "token": secrets.token_bytes(32),
                **of,
            }
        )

    return make


@pytest.fixture
def opened(identity: Callable[..., PoolIdentity]) -> Callable[..., AbstractAsyncContextManager[DigitalOceanSession]]:
    """Opens a session, of a new pool unless one is given, and closes it."""

    @asynccontextmanager
    async def session(of: PoolIdentity | None = None, **settings: Any) -> AsyncGenerator[DigitalOceanSession]:
        made = await DigitalOcean(**settings).open(of or identity())
        try:
            yield made
        finally:
            await made.close()

    return session
