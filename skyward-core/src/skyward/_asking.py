"""Asking a plugin: what may come back, how long it may take, and how often it is asked again.

A plugin is a stranger. What it may raise is the closed set below ``ProviderError``; anything else is its bug, and is
reported with the name and version of the distribution that it comes from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_exponential,
)

from skyward.errors import PluginError, SkywardError, Transient

__all__ = [
    "NoAnswer",
    "as_asked",
    "ask",
    "bug",
    "distribution",
    "let_go",
    "origin",
    "persistently",
]

_log = logging.getLogger("skyward.asking")

_CLOSE_LIMIT = 15.0
"""Seconds that a plugin may take to close something."""


class NoAnswer(Transient):
    """A plugin took longer than it may."""


async def ask[T](plugin: object, what: str, answer: Awaitable[T], limit: float | None = None) -> T:
    """Wait for what a plugin's coroutine answers.

    Args:
        plugin: an object of the plugin, by which its distribution is found.
        what: what it was asked to do, for the messages: ``"launch"``.
        answer: the awaitable that it gave.
        limit: seconds that it may take; ``None`` for a call that something else limits.

    Raises:
        SkywardError: as the plugin raised it.
        NoAnswer: it took longer than ``limit``.
        PluginError: it raised anything else.
    """
    timer = asyncio.timeout(limit)
    task = asyncio.current_task()
    assert task is not None
    cancelled = task.cancelling()
    try:
        async with timer:
            return await answer
    except asyncio.CancelledError as error:
        if task.cancelling():
            raise
        raise bug(plugin, what, error) from error
    except Exception as error:
        if task.cancelling() > cancelled:  # an error for an answer to that must not keep the pool from ending
            raise asyncio.CancelledError from error
        if isinstance(error, SkywardError):
            raise
        if timer.expired():
            raise NoAnswer(f"{_name(plugin)} did not answer to {what} within {limit:g} s") from error
        raise bug(plugin, what, error) from error


def bug(plugin: object, what: str, error: BaseException | str) -> PluginError:
    """The error that reports a mistake of a plugin."""
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return PluginError(
        f"{_name(plugin)} failed in {what} with {said}; this is a bug of {origin(plugin)}: please report it there"
    )


def origin(plugin: object) -> str:
    """Name and version of the distribution that an object comes from, or its module where there is none."""
    return distribution(plugin) or f"the module {_module(plugin)}"


def distribution(plugin: object) -> str | None:
    """Name and version of the plugin's distribution that a class, a function or a class's object comes from."""
    from importlib import metadata  # for the moment of a failure only: it takes long to import

    package = _module(plugin).partition(".")[0]
    for entry in metadata.entry_points(group="skyward"):
        if entry.dist is not None and entry.module.partition(".")[0] == package:
            return f"{entry.dist.name} {entry.dist.version}"
    return None


def _module(plugin: object) -> str:
    return str(getattr(plugin, "__module__", None) or type(plugin).__module__)


def _name(plugin: object) -> str:
    return str(getattr(plugin, "name", None) or getattr(plugin, "__name__", None) or type(plugin).__name__)


async def persistently[T](
    call: Callable[[], Awaitable[T]],
    *,
    on: type[Exception] | tuple[type[Exception], ...] = Transient,
    attempts: int | None = None,
    patience: float | None = None,
    first: float = 1.0,
    longest: float = 30.0,
) -> T:
    """Call until it does not raise ``on``; then return the result, or raise the last error.

    Args:
        call: makes the awaitable anew for each attempt.
        on: errors after which it is worth another attempt.
        attempts: how many there are at most.
        patience: seconds, by the event loop's clock, after which no other attempt begins.
        first: seconds before the second attempt; each further pause is twice as long. ``Transient.retry_after`` goes
            before.
        longest: the longest pause.
    """
    loop = asyncio.get_running_loop()
    end = float("inf") if patience is None else loop.time() + patience
    enough = stop_never if attempts is None else stop_after_attempt(attempts)

    async def attempt() -> T:
        return await call()

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(on),
        stop=lambda state: enough(state) or loop.time() >= end,
        wait=as_asked(wait_exponential(multiplier=first, max=longest)),
        reraise=True,
        sleep=asyncio.sleep,
    )
    return await retrying(attempt)


def as_asked(growing: Callable[[RetryCallState], float]) -> Callable[[RetryCallState], float]:
    """The pause that a ``Transient`` asks for by its ``retry_after``, or else the one that ``growing`` gives."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, Transient) else None
        return growing(state) if asked is None else asked

    return wait


async def let_go(plugin: object, what: str, close: Callable[[], Awaitable[None]]) -> None:
    """Close what a plugin holds; asked again if that fails by its own mistake. Nothing depends on it: it is logged."""

    async def closed() -> None:
        await ask(plugin, what, close(), _CLOSE_LIMIT)

    try:
        await persistently(closed, on=PluginError, attempts=2, first=0.05)
    except SkywardError as error:
        _log.warning("%s of %s failed: %s", what, _name(plugin), error)
