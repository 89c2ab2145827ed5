"""A client that asks a server of the tests, on a loop of its own: what the tests of the client share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from attrs import frozen
from rest_server import RestServer, served

from skyward.errors import (
    SkywardError,
)
from skyward.spi import RestClient, bearer
from skyward.testing._hurry import HurriedClock, hurried

TOKEN = "moon-token-5ecret-0815"


@frozen
class Moon:
    id: str
    max_count: int = 0
    price: float | None = None


@pytest.fixture
def server() -> Iterator[RestServer]:
    with served(RestServer()) as running:
        yield running


@pytest.fixture
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


def asked[T](server: RestServer, question: Callable[[RestClient], Coroutine[Any, Any, T]], **more: Any) -> T:
    """Ask by a client of its own, on a loop of its own."""

    async def main() -> T:
        client = RestClient("Moon", server.endpoint, **{"authorize": bearer(TOKEN), **more})
        try:
            return await question(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def refused(
    server: RestServer, question: Callable[[RestClient], Coroutine[Any, Any, object]], **more: Any
) -> SkywardError:
    with pytest.raises(SkywardError) as caught:
        asked(server, question, **more)
    return caught.value


async def get(client: RestClient) -> Any:
    return await client.ask("GET", "/moons")
