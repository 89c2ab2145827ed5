"""``sky.Executor``: an executor that brings its own pool."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self, Unpack

from skyward import _guards
from skyward._executor import PoolExecutor
from skyward._pool import ComputePool

if TYPE_CHECKING:
    from types import TracebackType

    from skyward._options import ProviderLike
    from skyward._parameters import PoolParameters

__all__ = ["Executor"]


class Executor(PoolExecutor):
    """A ``concurrent.futures.Executor`` whose workers are machines: ``with sky.Executor(nodes=2) as executor: ...``.

    Takes the parameters of :class:`ComputePool`. The machines are provisioned when the block is entered, or at the
    first ``submit`` without one, and ended by ``shutdown``. Its pool does not become the current one.
    """

    def __init__(self, provider: ProviderLike | None = None, **parameters: Unpack[PoolParameters]) -> None:
        super().__init__(ComputePool(provider, **parameters))
        self._entering = threading.Lock()

    def __enter__(self) -> Self:
        """Provision the machines."""
        self._ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Wait for the futures, then end the machines. After an error, what waits is dropped."""
        self.shutdown(wait=True, cancel_futures=kind is not None)
        return False

    def _ensure(self) -> None:
        if self._active_or_shut():
            return
        _guards.refuse_in_running_loop(
            "with sky.Executor(...)", "async with sky.ComputePool(...) as pool` and use `pool.executor()"
        )
        with self._entering:
            if not self._active_or_shut():
                self._pool._open()  # not its block: the current pool stays what it was

    def _active_or_shut(self) -> bool:
        return self._pool.is_active or self._shut

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """As of :class:`PoolExecutor`; provisions the machines first when that has not happened yet."""
        self._ensure()
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- as the base has it
        """As of ``concurrent.futures``, and then end the machines; without ``wait`` that happens in the background."""
        if wait:
            super().shutdown(wait=True, cancel_futures=cancel_futures)
            self._pool._close()
        else:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            threading.Thread(target=self.shutdown, name="skyward-shutdown").start()
