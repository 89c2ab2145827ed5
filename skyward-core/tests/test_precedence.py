"""``a() & b() >> pool``, which Python reads as ``a() & (b() >> pool)``."""

from __future__ import annotations

import gc
import operator
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from skyward.computation import PendingBatch, PendingCompute, gather
from skyward.errors import SkywardWarning
from skyward.function import compute


class Pool:
    """Runs everything here and now, twice for a broadcast, and remembers what it ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, pending: PendingCompute[Any], /) -> Any:
        self.ran.append(pending.function.name)
        return pending.function.fn(*pending.args, **pending.kwargs)

    def run_batch(self, batch: PendingBatch[*tuple[Any, ...]], /) -> Any:
        return tuple(self.run(pending) for pending in batch.pendings)

    def broadcast(self, pending: PendingCompute[Any], /) -> Any:
        return self.run(pending), self.run(pending)


@compute
def one() -> int:
    return 1


@compute
def add(a: int, b: int = 2) -> int:
    return a + b


pool: Any = Pool()


@pytest.fixture(autouse=True)
def fresh_pool() -> None:
    pool.ran = []


def quietly(action: Callable[[], object]) -> str:
    """What the TypeError says that ``action`` raises, and nothing else happens: no call runs, nothing warns."""
    with pytest.raises(TypeError) as raised:
        action()
    text = str(raised.value)
    raised.value.__traceback__ = None
    del raised
    gc.collect()
    return text


SHOWN = "nothing has run: write `({}) >> pool`"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("one() & add(1) >> pool", "one() & add(...)"),
        ("add(1) & one() @ pool", "add(...) & one()"),
        ("one() & add(1) & one() >> pool", "one() & add(...) & one()"),
        ("gather(one()) & add(1) >> pool", "one() & add(...)"),
        ("one() & gather(add(1)) >> pool", "one() & (add(...))"),
        ("p & add(1) >> pool", "one() & add(...)"),
        ("p & q >> pool", "one() & add(...)"),
        ("b & add(1) >> pool", "(one() & one()) & add(...)"),
        ("(\n  one()\n  & add(1)\n  >> pool\n)", "one() & add(...)"),
        ("[one() & add(x) >> pool for x in range(2)]", "one() & add(...)"),
        ("f'{one() & add(1) >> pool}'", "one() & add(...)"),
    ],
)
@pytest.mark.parametrize("place", ["module", "function"])
def test_missing_parentheses_are_refused_before_anything_runs(source: str, shown: str, place: str) -> None:
    space = {"one": one, "add": add, "pool": pool, "gather": gather}
    setup = "p = one(); q = add(1); b = one() & one()"
    text = f"{setup}\nr = {source}" if place == "module" else ""
    if place == "function":
        body = "\n".join(f"    {line}" for line in f"{setup}\nreturn {source}".replace("\n  ", "\n").splitlines())
        text = f"def f():\n{body}\nf()"
    said = quietly_about_others(lambda: exec(compile(text, "<test>", "exec"), space), space)
    assert SHOWN.format(shown) in said
    assert pool.ran == []


def quietly_about_others(action: Callable[[], object], space: dict[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkywardWarning)  # p, q and b are for those that use them
        text = quietly(action)
        space.clear()
        gc.collect()
    return text


def test_an_assignment_by_and_is_refused_too() -> None:
    def run() -> object:
        batch: Any = one()
        batch &= add(1) >> pool
        return batch

    assert SHOWN.format("one() & add(...)") in quietly(run)
    assert pool.ran == []


def test_where_it_cannot_be_seen_beforehand_the_parentheses_are_shown_afterwards() -> None:
    holder: list[Any] = [one()]
    assert "parentheses are needed" in quietly(lambda: holder.pop() & (add(1) >> pool))
    assert "parentheses are needed: `(other(...) & add(...)) >> pool`" in quietly(lambda: one() @ pool & add(1))


def test_without_source_positions_the_parentheses_are_shown_afterwards() -> None:
    code = (
        "from skyward.function import compute\n"
        "class Pool:\n    run = run_batch = broadcast = lambda self, pending: 3\n"
        "f = compute(lambda: 1)\n"
        "f() & f() >> Pool()\n"
    )
    command = [sys.executable, "-X", "no_debug_ranges", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "one side is a int: `>>` and `@` bind tighter than `&`, so parentheses are needed" in done.stderr


def test_an_and_of_results_is_no_business_of_ours() -> None:
    flags = {"a": 6}
    kept = [add(1) for _ in range(2)]
    waiting = add(7)
    assert 5 & (add(1) >> pool) == 1
    assert flags["a"] & (add(1) >> pool) == 2
    assert (add(1) >> pool) & (add(2) >> pool) == 0
    assert sum((add(1) >> pool, 4)) & (add(5) >> pool) == 7
    assert (gather(add(1), add(2)) >> pool)[0] & (add(5) >> pool) == 3
    assert len([waiting, *kept]) & (add(1) >> pool) == 3
    for pending in [waiting, *kept]:
        pending >> pool


def test_a_dispatch_through_a_function_is_not_mistaken() -> None:
    assert operator.rshift(add(1), pool) & 7 == 3
    assert 7 & operator.rshift(add(1), pool) == 3
