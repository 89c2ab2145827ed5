"""Plugins are strangers: what they raise, how long they take, and what they cancel is held within limits."""

from __future__ import annotations

import asyncio

import pytest
from road_fakes import FakeProvider, Journey, virtually

import skyward as sky
from skyward import _asking
from skyward.errors import PluginError, ProvisioningError, Transient


@virtually
async def test_a_stray_cancellation_of_a_plugin_is_its_bug_and_cancels_nothing() -> None:
    async def odd() -> None:
        raise asyncio.CancelledError("of some inner task")

    with pytest.raises(PluginError, match="CancelledError"):
        await _asking.ask(FakeProvider(), "describe", odd())


@virtually
async def test_an_answer_that_takes_too_long_counts_as_a_passing_failure() -> None:
    with pytest.raises(Transient, match="Fake did not answer to describe within 3 s"):
        await _asking.ask(FakeProvider(), "describe", asyncio.sleep(4), 3)


@virtually
async def test_the_origin_of_a_plugin_is_its_distribution_and_version() -> None:
    assert _asking.origin(sky.Local()).startswith("skyward-core 0.")
    assert _asking.origin(sky.Local).startswith("skyward-core 0.")
    assert _asking.origin(Journey) == "the module road_fakes"


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
        await _asking.together([endless("a"), failing(), endless("b")])
    assert sorted(ended) == ["a", "b"]
