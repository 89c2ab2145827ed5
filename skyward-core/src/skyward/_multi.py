"""``MultiPool``: several pools, provisioned and ended side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skyward import _guards, _interrupts, _signals
from skyward._concurrency import shielded
from skyward._interrupts import shield
from skyward._pool import ComputePool
from skyward._waiting import wait_for
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from skyward._engine import Engine

__all__ = ["MultiPool"]


class MultiPool:
    """Pools that are entered together: ``with sky.MultiPool(a, b) as (a, b): ...``.

    They are provisioned at the same time, so it takes as long as the slowest one. When one fails, the others are
    ended and its error is raised, with a note that says which pool it is of. None of them becomes the current pool:
    name the one that you mean.
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
        """Provision all of them.

        Raises:
            SkywardError: the first failure of any of them, with a note that says which one. The others are ended.
        """
        _guards.refuse_in_running_loop("with sky.MultiPool(...)", "async with sky.MultiPool(...)")
        _interrupts.install()
        entered = False
        try:
            with shield:
                self._enter()
                entered = True
        except BaseException as error:
            if entered:  # by a signal that had to wait: there will be no block that could be left
                self.__exit__(type(error), error, error.__traceback__)
            raise
        return self._pools

    @shield.entered_by
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them at the same time."""
        with shield:
            try:
                with shield.window():
                    self._uncover(kind, error, trace)
            finally:
                _finish(self._engines, _endings(self._engines))

    def _enter(self) -> None:
        """Provision all, and enter what is around them; to be called inside the shield."""
        begun: list[Engine] = []
        provisioning: list[concurrent.futures.Future[None]] = []
        try:
            for engine in self._engines:
                provisioning.append(engine.begin())
                begun.append(engine)
            wait_for(provisioning, or_a_failure=True)
            for each in provisioning:
                if each.done():
                    each.result()
        except BaseException as error:
            failures: list[BaseException | None] = []
            try:
                _finish(begun, [engine.aborting() for engine in begun])
            except Exception as failure:  # noqa: BLE001  told together with the first one
                failures = [failure]
            failures = [*map(_failure, provisioning), *failures]
            place = failures.index(error) if error in failures else None
            if place is None and len(begun) < len(self._pools):
                place = len(begun)  # it is what `begin` raised
            self._explain(error, place, failures)
            raise
        for engine in begun:
            engine.complete()
        try:
            with shield.window():
                self._surround()
        except BaseException:
            _finish(self._engines, _endings(self._engines))
            raise

    async def __aenter__(self) -> tuple[ComputePool, ...]:
        """As ``with``, without blocking the running event loop."""
        entering = [asyncio.ensure_future(engine.aenter()) for engine in self._engines]
        try:
            await asyncio.gather(*entering)
        except BaseException as error:
            failures = await shielded(self._take_back(entering))
            self._explain(error, failures.index(error) if error in failures else None, failures)
            raise
        try:
            self._surround()
        except BaseException:
            await self._end()
            raise
        return self._pools

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As the end of ``with``, without blocking the running event loop."""
        try:
            self._uncover(kind, error, trace)
        finally:
            await self._end()

    async def _end(self) -> None:
        endings = _endings(self._engines)  # before anything is awaited, so that no cancellation comes in between
        try:
            await shielded(_through(endings))
        finally:
            _let_go(self._engines)
        if (failure := _signals.first_error(endings)) is not None:
            raise failure

    async def _take_back(self, entering: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
        """End what has been entered here; how each pool failed to be entered, and how each failed to be ended."""
        for task in entering:
            task.cancel()
        await asyncio.wait(entering)
        entered = [engine for engine, task in zip(self._engines, entering, strict=True) if _succeeded(task)]
        endings = _endings(entered)
        await _through(endings)
        _let_go(entered)
        return [*map(_failure, entering), *map(_failure, endings)]

    def _surround(self) -> None:
        """Enter what integrations put around each pool, or leave none of it entered."""
        with contextlib.ExitStack() as stack:
            for pool in self._pools:
                pool._around.enter()
                stack.push(pool._around.leave)
            stack.pop_all()

    def _uncover(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave that again, in reverse order."""
        with contextlib.ExitStack() as stack:
            for pool in self._pools:
                stack.callback(pool._around.leave, kind, error, trace)

    def _explain(self, error: BaseException, place: int | None, failures: Sequence[BaseException | None]) -> None:
        """Note on an error which pool it is of, and what else went wrong."""
        if place is not None and isinstance(error, Exception):
            options = self._pools[place]._options
            sellers = " or ".join(provider.name for provider in options.providers)
            error.add_note(
                f"this is of pool {place + 1} of {len(self._pools)} in the MultiPool, {options.spec.nodes} node(s) on "
                f"{sellers}; the others were ended"
            )
        told = {id(error), id(None)}
        for other in failures:
            if id(other) not in told:
                told.add(id(other))
                error.add_note(f"and, from another pool: {type(other).__name__}: {other}")


def _failure(future: concurrent.futures.Future[None] | asyncio.Task[None]) -> BaseException | None:
    return future.exception() if future.done() and not future.cancelled() else None


def _succeeded(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None


def _endings(engines: Sequence[Engine]) -> list[concurrent.futures.Future[None]]:
    return [ending for engine in engines if (ending := engine.ending()) is not None]


async def _through(endings: Sequence[concurrent.futures.Future[None]]) -> None:
    """Wait until all have ended, in whatever way."""
    await asyncio.gather(*map(asyncio.wrap_future, endings), return_exceptions=True)


def _finish(engines: Sequence[Engine], endings: Sequence[concurrent.futures.Future[None]]) -> None:
    try:
        _signals.finish(endings, lambda: [name for engine in engines for name in engine.remaining])
    finally:
        _let_go(engines)


def _let_go(engines: Sequence[Engine]) -> None:
    for engine in engines:
        engine.let_go()
