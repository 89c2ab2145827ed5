"""Pools' sessions with a provider, for its tests: whose they are, how they are opened, what finds what they leave."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, override

import pytest
from attrs import evolve

from skyward import Image, _clock
from skyward.spi import ComputeSpec, PoolIdentity
from skyward.testing._hurry import HurriedClock

__all__ = ["Hurry", "command", "hurry", "identity", "new_identity", "opening", "spec"]


class _Closes(Protocol):
    async def close(self) -> None: ...


class _Opens[S: _Closes](Protocol):
    async def open(self, identity: PoolIdentity, /) -> S: ...


class Hurry(HurriedClock):
    """A clock on which pauses are over at once; it keeps them, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: list[float] = []

    @override
    async def sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        await super().sleep(seconds)


@pytest.fixture
def hurry() -> Iterator[Hurry]:
    """Nobody waits between two questions to a vendor."""
    clock = Hurry()
    with _clock.use(clock):
        yield clock


def new_identity(**changes: Any) -> PoolIdentity:
    """The identity of a new pool, of a client on another host."""
    made = PoolIdentity(
        pool_id=f"test-{secrets.token_hex(5)}",
        owner="ada@lab",
        deadline=time.time() + 3600,
        lease=600.0,
        token=secrets.token_bytes(16),
        client="elsewhere-1-2",
    )
    return evolve(made, **changes)


@pytest.fixture
def identity() -> Callable[..., PoolIdentity]:
    """Makes identities, as `new_identity` does."""
    return new_identity


@pytest.fixture
def spec() -> Callable[..., ComputeSpec]:
    """Makes a request, for one node unless it says otherwise."""

    def make(**changes: Any) -> ComputeSpec:
        return evolve(ComputeSpec(nodes=1, image=Image()), **changes)

    return make


def opening[S: _Closes](
    provider: Callable[..., _Opens[S]],
    identity: Callable[..., PoolIdentity],
    end: Callable[[S], Awaitable[None]] | None = None,
) -> Callable[..., AbstractAsyncContextManager[S]]:
    """What opens sessions, of a new pool unless an identity is given, and of a provider with the settings that follow.

    Args:
        provider: makes the provider.
        identity: the fixture.
        end: what befalls the session at the end; ``None`` for its own ``close``.
    """

    @asynccontextmanager
    async def opened(who: PoolIdentity | None = None, /, **settings: Any) -> AsyncGenerator[S]:
        session = await provider(**settings).open(who or identity())
        try:
            yield session
        finally:
            await (session.close() if end is None else end(session))

    return opened


def command(provider: str, elsewhere: Path, *arguments: str) -> dict[str, Any]:
    """What ``python -m skyward ... --json`` says, and its ``status``, on a host that has never seen any pool.

    Args:
        provider: the only one that it is to ask.
        elsewhere: a folder for what that host keeps.
        arguments: such as ``reap --dry-run``.
    """
    environment = {**os.environ, "XDG_STATE_HOME": str(elsewhere)}
    environment.pop("SKYWARD_DISABLE_PLUGINS", None)
    line = (sys.executable, "-m", "skyward", *arguments, "--json", "--provider", provider)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout), "status": done.returncode}
