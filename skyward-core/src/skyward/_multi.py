"""``MultiPool``: several pools, provisioned and ended side by side."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from skyward.errors import ConfigurationError, UsageError
from skyward._pool import ComputePool

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MultiPool"]


class MultiPool:
    """Pools that are entered together: ``with sky.MultiPool(a, b) as (a, b): ...``.

    They are provisioned at the same time, so it takes as long as the slowest one. When one fails, the others are ended
    and its error is raised. None of them becomes the current pool: name the one that you mean.
    """

    def __init__(self, *pools: ComputePool) -> None:
        for position, pool in enumerate(pools):
            if not isinstance(pool, ComputePool):
                raise ConfigurationError(f"argument {position + 1} of MultiPool is {pool!r}; give sky.ComputePool(...)")
        if not pools:
            raise ConfigurationError("MultiPool got no pool; give at least one sky.ComputePool(...)")
        if len(set(map(id, pools))) != len(pools):
            raise ConfigurationError("MultiPool got the same pool twice; make one sky.ComputePool(...) for each place")
        self._pools = pools

    def __enter__(self) -> tuple[ComputePool, ...]:
        """Provision all of them."""
        started = []
        try:
            for pool in self._pools:
                if pool.is_active:
                    raise UsageError("a pool of this MultiPool is entered already; leave that to MultiPool")
                started.append((pool, pool._engine.begin()))
            done, _ = concurrent.futures.wait(
                [future for _, future in started], return_when=concurrent.futures.FIRST_EXCEPTION
            )
            for future in done:
                future.result()
        except BaseException:
            for _, future in started:
                future.cancel()
            for pool, future in started:
                pool._engine.abort(future)
            raise
        for pool in self._pools:
            pool._engine.complete()
        return self._pools

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(self._pools), "skyward-leave") as threads:
            for ended in [threads.submit(pool._engine.leave) for pool in self._pools]:
                ended.result()
