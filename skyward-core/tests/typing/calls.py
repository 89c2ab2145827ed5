"""What a checker knows of compute functions, their calls and their results. Never run: see test_typing.py."""

from __future__ import annotations

from typing import Any, assert_type

from skyward import _current
from skyward.computation import PendingBatch, PendingCompute, Target, gather
from skyward.function import ComputeFunction, compute


@compute
def add(a: int, b: int = 2) -> int:
    return a + b


@compute(retry=2)
def name(of: int, *, upper: bool = False) -> str:
    return str(of) + str(upper)


@compute
def first[T](items: list[T]) -> T:
    return items[0]


class Model:
    @compute
    def score(self, x: float) -> float:
        return x


def plain(x: bytes, /) -> bytes:
    return x


def single(pool: Target) -> None:
    assert_type(add(1), PendingCompute[int])
    assert_type(add(1) >> pool, int)
    assert_type(add(1, b=3) @ pool, tuple[int, ...])
    assert_type(name(1, upper=True) >> pool, str)
    assert_type(add.local(1), int)
    assert_type(add.retry, int)
    assert_type(first([1.5]) >> pool, float)
    assert_type(Model().score(1.0) >> pool, float)
    assert_type(compute(plain), ComputeFunction[[bytes], bytes])
    assert_type(compute(compute(plain)), ComputeFunction[[bytes], bytes])
    assert_type(compute(retry=1)(plain)(b"") >> pool, bytes)


def on_the_current_pool() -> None:
    assert_type(add(1) >> _current, int)
    assert_type(name(1) @ _current, tuple[str, ...])
    assert_type((add(1) & name(1)) >> _current, tuple[int, str])


def joined(pool: Target) -> None:
    assert_type(add(1) & name(2), PendingBatch[int, str])
    assert_type((add(1) & name(2) & add(3)) >> pool, tuple[int, str, int])
    a, b = (add(1) & name(2)) >> pool
    assert_type(a, int)
    assert_type(b, str)
    assert_type(((add(1) & name(2)) & (name(3) & add(4))) >> pool, tuple[int, str, str, int])
    assert_type((add(1) & (name(2) & add(3))) >> pool, tuple[int, str, int])


def gathered(pool: Target, more: list[PendingCompute[int]]) -> None:
    assert_type(gather() >> pool, tuple[()])
    a, b, c = gather(add(1), name(2), add(3)) >> pool
    assert_type(a, int)
    assert_type(b, str)
    assert_type(c, int)
    assert_type(
        gather(add(1), name(2), add(3), name(4), add(5), name(6), add(7), name(8)) >> pool,
        tuple[int, str, int, str, int, str, int, str],
    )
    assert_type(gather(*more) >> pool, tuple[int, ...])
    assert_type(gather(*(add(x) for x in range(9))) >> pool, tuple[int, ...])
    mixed: list[PendingCompute[int | str]] = [add(1), name(2)]
    assert_type(gather(*mixed) >> pool, tuple[int | str, ...])


def gathered_with_exceptions(pool: Target, more: list[PendingCompute[int]]) -> None:
    x, y = gather(add(1), name(2), return_exceptions=True) >> pool
    assert_type(x, int | BaseException)
    assert_type(y, str | BaseException)
    if not isinstance(x, BaseException):
        assert_type(x, int)
    assert_type(gather(*more, return_exceptions=True) >> pool, tuple[int | BaseException, ...])


def widened(calls: list[PendingCompute[int]]) -> tuple[PendingCompute[float], ...]:
    """A call that gives an int is a call that gives a float: results are only ever read."""
    return tuple(calls)


def anything(pool: Target, call: PendingCompute[Any]) -> object:
    return call >> pool
