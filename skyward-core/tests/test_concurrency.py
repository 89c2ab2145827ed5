"""Coroutines side by side."""

from __future__ import annotations

import asyncio

import pytest
from road_fakes import virtually

from skyward import _concurrency
from skyward.errors import ProvisioningError


@virtually
async def test_the_first_failure_of_several_stops_the_others_and_is_raised_as_itself() -> None:
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended.append(name)

    async def failing() -> None:
        await asyncio.sleep(1)
        raise ProvisioningError("as itself")

    with pytest.raises(ProvisioningError, match="as itself"):
        await _concurrency.together([endless("a"), failing(), endless("b")])
    assert sorted(ended) == ["a", "b"]
