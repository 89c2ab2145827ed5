"""``MultiPool``: several pools, provisioned and ended side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING

from skyward import _guards, _interrupts, _signals
from skyward._interrupts import shield
from skyward._pool import ComputePool
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from skyward._engine import Engine

__all__ = ["MultiPool"]


class MultiPool:
    """Pools that are entered together: ``with sky.MultiPool(a, b) as (a, b): ...``.

    They are provisioned at the same time, so it takes as long as the slowest one. When one fails, the others are ended
    and its error is raised. None of them becomes the current pool: name the one that you mean.
    """

    def __init__(self, *pools: ComputePool) -> None:
        for position, pool in enumerate(pools, 1):
            if not isinstance(pool, ComputePool):
                raise ConfigurationError(f"argument {position} of MultiPool is {pool!r}; give sky.ComputePool(...)")
        if not pools:
            raise ConfigurationError("MultiPool got no pool; give at least one sky.ComputePool(...)")
        if len(set(map(id, pools))) != len(pools):
            raise ConfigurationError("MultiPool got the same pool twice; make one sky.ComputePool(...) for each place")
        self._pools = pools

    @property
    def _engines(self) -> list[Engine]:
        return [pool._engine for pool in self._pools]

    def __enter__(self) -> tuple[ComputePool, ...]:
        """Provision all of them."""
        _guards.refuse_in_running_loop("with sky.MultiPool(...)", "async with sky.MultiPool(...)")
        begun: list[Engine] = []
        provisioning: list[concurrent.futures.Future[None]] = []
        _interrupts.install()
        with shield:
            try:
                for engine in self._engines:
                    provisioning.append(engine.begin())
                    begun.append(engine)
                with shield.window():
                    concurrent.futures.wait(provisioning, return_when=concurrent.futures.FIRST_EXCEPTION)
                for future in provisioning:
                    if future.done():
                        future.result()
            except BaseException:
                _finish(begun, [engine.aborting() for engine in begun])
                raise
            for engine in begun:
                engine.complete()
        return self._pools

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them at the same time."""
        with shield:
            _finish(self._engines, [ending for engine in self._engines if (ending := engine.ending()) is not None])

    async def __aenter__(self) -> tuple[ComputePool, ...]:
        """As ``with``, without blocking the running event loop."""
        entering = [asyncio.ensure_future(engine.aenter()) for engine in self._engines]
        try:
            await asyncio.gather(*entering)
        except BaseException:
            for task in entering:
                task.cancel()
            await asyncio.wait(entering)
            await self.__aexit__(None, None, None)
            raise
        return self._pools

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As the end of ``with``, without blocking the running event loop."""
        outcomes = await asyncio.gather(*(engine.aleave() for engine in self._engines), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


def _finish(engines: list[Engine], endings: list[concurrent.futures.Future[None]]) -> None:
    try:
        _signals.finish(endings, lambda: [name for engine in engines for name in engine.remaining])
    finally:
        for engine in engines:
            engine.let_go()
