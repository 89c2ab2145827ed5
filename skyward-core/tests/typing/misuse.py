"""What a checker must report: a ``type: ignore`` that it does not need is an error. Never run: see test_typing.py."""

# pyright: reportUnusedExpression=false, reportUnnecessaryTypeIgnoreComment=true
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# ruff: noqa: B018

from __future__ import annotations

from skyward.computation import Target, gather
from skyward.function import compute


@compute
def add(a: int, b: int = 2) -> int:
    return a + b


def arguments() -> None:
    add("1")  # type: ignore[arg-type]
    add(1, c=3)  # type: ignore[call-arg]
    add()  # type: ignore[call-arg]
    add(1, 2, 3)  # type: ignore[call-arg]
    add.local(1, c=3)  # type: ignore[call-arg]
    add.locl(1)  # type: ignore[attr-defined]
    compute(retries=2)  # type: ignore[call-overload]
    compute(retry="2")  # type: ignore[call-overload]


def results(pool: Target) -> None:
    wrong: str = add(1) >> pool  # type: ignore[assignment]
    several: int = add(1) @ pool  # type: ignore[assignment]
    _a, _b, _c = (add(1) & add(2)) >> pool  # type: ignore[misc]
    print(wrong, several)


def not_yet_a_result(pool: Target) -> None:
    add(1) + 1  # type: ignore[operator]
    add(1).real  # type: ignore[attr-defined]
    _a, _b = add(1) & add(2)  # type: ignore[misc]
    for _ in add(1):  # type: ignore[attr-defined]
        pass
    len(add(1))  # type: ignore[arg-type]


def wrong_places(pool: Target) -> None:
    add(1) >> None  # type: ignore[operator]
    add(1) >> 3  # type: ignore[operator]
    add >> pool  # type: ignore[operator]
    (add(1) & add(2)) @ pool  # type: ignore[operator]
    add(1) & add(2) >> pool  # type: ignore[operator]
    gather(add)  # type: ignore[call-overload]
    gather([add(1)])  # type: ignore[call-overload]
