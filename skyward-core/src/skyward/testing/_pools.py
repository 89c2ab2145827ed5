"""The pools that tests share: opened at the first use, lent to one test after another, replaced when they broke."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from skyward import _clock, _current, _open_pools
from skyward._pool import ComputePool
from skyward.model.events import LogLine
from skyward.testing import _left

__all__ = ["SharedPools"]

_AT_MOST = 2
"""So many pools with different parameters stay open; then the one that was used the longest time ago is ended."""
_PATIENCE = 10.0
"""Seconds that a node may take to answer."""
_LEASE = 600.0
"""Seconds for which the nodes outlive a debugger that holds all threads of the tests, and a test run that is killed."""


@frozen(eq=False)
class _Kept:
    """An open pool, what it was made with, and the context that it was entered in."""

    parameters: dict[str, Any]
    pool: ComputePool
    context: contextvars.Context = field(factory=contextvars.copy_context)
    machines: set[str] = field(factory=set)  # those that it began with: who loses one may have it replaced by itself


class SharedPools:
    """Keeps pools open between tests.

    Args:
        folder: where their nodes work, although the test that has one opened may stand elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[_Kept] = []  # the one that was used last stands last

    def lend(self, parameters: Mapping[str, Any]) -> contextlib.AbstractContextManager[ComputePool]:
        """A pool with these parameters, for a block in which it is current.

        Raises:
            SkywardError: as of a pool that is entered.
        """
        return self._lent(self._take(_complete(parameters)))

    @contextlib.contextmanager
    def _lent(self, kept: _Kept) -> Generator[ComputePool]:
        """A pool that is not in order after the block is ended."""
        pool = kept.pool
        stop = pool.on(LogLine, _print) if kept.parameters["display"] == "quiet" else _nothing
        _current.enter(pool)
        try:
            yield pool
        finally:
            _current.leave(pool)
            stop()
            if not pool.is_active or _open_pools.is_busy(pool):  # a task that the test left would hold up the next
                self._end(kept)

    def close(self) -> None:
        """End all of them."""
        with contextlib.ExitStack() as steps:
            for kept in list(self._kept):
                steps.callback(self._end, kept)

    def _take(self, parameters: dict[str, Any]) -> _Kept:
        for kept in list(self._kept):
            if kept.parameters == parameters:
                if kept.machines == _open_pools.machines(kept.pool) and _open_pools.in_order(kept.pool, _PATIENCE):
                    self._kept.remove(kept)
                    self._kept.append(kept)
                    return kept
                self._end(kept)
        kept = _Kept(parameters, ComputePool(**parameters))
        while len(self._kept) >= _AT_MOST:
            self._end(self._kept[0])
        _left.shared.add(_open_pools.engine_of(kept.pool))
        # The test that is the first to ask for it may stand elsewhere, and live by the clock of a fake cloud.
        with contextlib.chdir(self._folder), _clock.use(_clock.SYSTEM):
            kept.context.run(kept.pool.__enter__)
        kept.machines.update(_open_pools.machines(kept.pool))
        self._kept.append(kept)
        return kept

    def _end(self, kept: _Kept) -> None:
        self._kept.remove(kept)
        kept.context.run(kept.pool.__exit__, None, None, None)


def _complete(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """With what suits tests where nothing is said. Only local nodes may live as long as the tests run."""
    usual: dict[str, Any] = {"nodes": 2, "display": "quiet", "lease": _LEASE}
    if parameters.get("provider") is None:
        usual["timeout"] = None
    return {**usual, **parameters}


def _print(event: LogLine) -> None:
    """Where pytest captures it."""
    print(event.line, file=sys.stderr if event.stream == "stderr" else sys.stdout)


def _nothing() -> None:
    """No subscription to end."""
