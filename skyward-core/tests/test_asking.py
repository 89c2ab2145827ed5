"""Plugins are strangers: what they raise, how long they take, and what they cancel is held within limits."""

from __future__ import annotations

import asyncio

import pytest
from road_fakes import FakeProvider, Journey, virtually

import skyward as sky
from skyward import _asking
from skyward.errors import PluginError, Transient


@virtually
async def test_a_stray_cancellation_of_a_plugin_is_its_bug_and_cancels_nothing() -> None:
    async def odd() -> None:
        raise asyncio.CancelledError("of some inner task")

    with pytest.raises(PluginError, match="CancelledError"):
        await _asking.ask(FakeProvider(), "describe", odd())


@pytest.mark.parametrize("answer", [RuntimeError("closed"), Transient("closed")])
@virtually
async def test_a_plugin_that_answers_a_cancellation_with_an_error_does_not_stop_it(answer: Exception) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise answer from None

    asking = asyncio.ensure_future(_asking.ask(FakeProvider(), "describe", stubborn(), 30))
    await asyncio.sleep(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await _asking.ask(FakeProvider(), "describe", stubborn(), 30)


@virtually
async def test_an_answer_that_takes_too_long_counts_as_a_passing_failure() -> None:
    with pytest.raises(Transient, match="Fake did not answer to describe within 3 s"):
        await _asking.ask(FakeProvider(), "describe", asyncio.sleep(4), 3)


@virtually
async def test_the_origin_of_a_plugin_is_its_distribution_and_version() -> None:
    assert _asking.origin(sky.Local()).startswith("skyward-core 0.")
    assert _asking.origin(sky.Local).startswith("skyward-core 0.")
    assert _asking.origin(Journey) == "the module road_fakes"
