"""What a user sees when a pool cannot be entered: the message, and few lines that are not the user's own."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable

import pytest

import skyward as sky
from skyward.spi import Capabilities, PoolIdentity, Session

pytestmark = pytest.mark.usefixtures("own_ledgers")


class Failing:
    """A provider that cannot be opened; with ``None`` it never answers. ``cause`` is why, in a vendor's package."""

    name = "Failing"
    capabilities = Capabilities()

    def __init__(self, error: Exception | None, cause: Exception | None = None) -> None:
        self._error = error
        self._cause = cause

    async def open(self, identity: PoolIdentity, /) -> Session:
        if self._error is None:
            await asyncio.Event().wait()
        raise self._error or AssertionError from self._cause


def enter(pool: sky.ComputePool) -> None:
    with pool:
        raise AssertionError("it was entered")


def enter_from_a_coroutine(pool: sky.ComputePool) -> None:
    async def main() -> None:
        async with pool:
            raise AssertionError("it was entered")

    asyncio.run(main())


def within(error: BaseException) -> bool:
    """Whether the traceback leads to where providers are opened."""
    return any(frame.filename.endswith("_market.py") for frame in traceback.extract_tb(error.__traceback__))


@pytest.mark.parametrize("way", [enter, enter_from_a_coroutine])
def test_an_error_while_entering_shows_few_frames_of_the_library(way: Callable[[sky.ComputePool], None]) -> None:
    pool = sky.ComputePool(Failing(sky.Unavailable("closed")), display="quiet")
    with pytest.raises(sky.Unavailable, match="closed") as caught:
        way(pool)
    shown = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not within(caught.value), "the way through the library"
    assert "enter" in " ".join(shown)
    assert len([name for name in shown if name not in ("run", "run_until_complete")]) <= 12


def test_the_frames_are_in_the_log_for_whoever_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "skyward.pool")
    with pytest.raises(sky.Unavailable):
        enter(sky.ComputePool(Failing(sky.Unavailable("closed")), display="quiet"))
    assert "_market.py" in caplog.text


def test_what_a_vendors_package_raised_is_in_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "skyward.pool")
    with pytest.raises(sky.Unavailable) as caught:
        enter(sky.ComputePool(Failing(sky.Unavailable("closed"), OSError("refused")), display="quiet"))
    assert "direct cause" not in "".join(traceback.format_exception(caught.value))
    assert "OSError: refused" in caplog.text


def test_a_plugin_that_breaks_keeps_its_frames() -> None:
    with pytest.raises(sky.PluginError) as caught:
        enter(sky.ComputePool(Failing(ZeroDivisionError("a bug")), display="quiet"))
    assert within(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_pool_that_is_not_ready_in_time_does_not_show_where_its_clock_struck() -> None:
    pool = sky.ComputePool(Failing(None), display="quiet", provision_timeout=0.05)
    with pytest.raises(sky.ProvisionTimeout) as caught:
        enter(pool)
    shown = "".join(traceback.format_exception(caught.value))
    assert "CancelledError" not in shown
    assert "direct cause" not in shown
