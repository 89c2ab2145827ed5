"""What a checker knows of executors, which take plain and compute functions. Never run: see test_typing.py."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, assert_type

from skyward.function import compute

if TYPE_CHECKING:
    from skyward._executor import PoolExecutor


def plain(x: int, *, scale: float = 1.0) -> float:
    return x * scale


@compute
def double(x: int) -> int:
    return 2 * x


def use(executor: PoolExecutor) -> Executor:
    assert_type(executor.submit(plain, 1, scale=2.0), Future[float])
    assert_type(executor.submit(double, 1), Future[int])
    assert_type(executor.map(plain, [1, 2]), Iterator[float])
    assert_type(executor.map(double, [1, 2], chunksize=2), Iterator[int])
    executor.submit(double, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    return executor
