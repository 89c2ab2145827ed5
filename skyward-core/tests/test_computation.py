"""Pendings, batches and gather: the operators, and every way to hold them wrongly."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import pickle
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from skyward import _current
from skyward.computation import PendingBatch, PendingCompute, gather
from skyward.errors import SkywardWarning, UsageError
from skyward.function import compute
from skyward.worker import context


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


def test_the_operators_send_a_call_to_one_node_to_all_and_several_in_parallel() -> None:
    assert add(1) >> pool == 3
    assert add(1, b=3) @ pool == (4, 4)
    assert (one() & add(1) & add(2)) >> pool == (1, 3, 4)
    assert gather(one(), add(1)) >> pool == (1, 3)


def test_the_current_pool_is_a_target_too() -> None:
    _current.enter(pool)
    try:
        assert (_current.current_pool(),) == (pool,)
        assert add(1) >> _current == 3
        assert add(1) @ _current == (3, 3)
        assert gather(add(1)) >> _current == (3,)
    finally:
        _current.leave(pool)
    assert _current.current_pool() is None


def test_leaving_puts_back_the_pool_that_was_current_before() -> None:
    inner = Pool()
    _current.enter(pool)
    _current.enter(inner)
    _current.leave(inner)
    assert (_current.current_pool(),) == (pool,)
    _current.leave(pool)
    assert _current.current_pool() is None


def test_a_pool_can_be_left_from_another_context() -> None:
    other = Pool()
    _current.enter(pool)
    try:
        copied = contextvars.copy_context()
        copied.run(_current.leave, pool)
        assert copied.run(_current.current_pool) is None
        copied.run(_current.enter, other)
        copied.run(_current.leave, pool)
        assert copied.run(_current.current_pool) is other
    finally:
        _current.leave(pool)


def test_without_a_current_pool_the_error_names_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"no pool is current here.*`>> pool`"):
        add(1) >> _current
    with pytest.raises(UsageError, match="no pool is current here"):
        add(1) @ _current
    with pytest.raises(UsageError, match="no pool is current here"):
        gather(add(1)) >> _current


def test_a_new_thread_has_no_current_pool_and_is_told_so() -> None:
    said: list[str] = []

    def work() -> None:
        try:
            add(1) >> _current
        except UsageError as error:
            said.append(str(error))

    _current.enter(pool)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    _current.leave(pool)
    assert said[0].startswith("no pool is current in this thread: a new thread starts without one; name the pool")


def test_a_node_has_no_current_pool_and_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "current", context.ClusterContext(node=0, total_nodes=1))
    with pytest.raises(UsageError, match=r"no pool is current on a node.*\.local"):
        add(1) >> _current


def test_a_pending_may_be_dispatched_more_than_once() -> None:
    pending = add(1)
    assert (pending >> pool, pending >> pool, pending @ pool) == (3, 3, (3, 3))


def test_batches_are_joined_flat_and_in_order() -> None:
    def names(batch: PendingBatch[*tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [pending.args for pending in batch.pendings]

    left, right = add(1) & add(2), add(3) & add(4)
    batch = left & right
    longer = add(0) & batch & add(5)
    assert names(batch) == [(1,), (2,), (3,), (4,)]
    assert names(longer) == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert longer >> pool == (2, 3, 4, 5, 6, 7)


def test_gather_of_nothing_is_an_empty_batch() -> None:
    assert gather() >> pool == ()


def test_return_exceptions_is_carried_by_the_batch() -> None:
    batch = gather(one(), return_exceptions=True)
    assert batch.return_exceptions
    assert batch >> pool == (1,)


def test_a_batch_with_return_exceptions_is_not_joined() -> None:
    message = "pass all its calls to one gather(..., return_exceptions=True)"
    assert message in quietly(lambda: gather(one(), return_exceptions=True) & one())
    assert message in quietly(lambda: one() & gather(one(), return_exceptions=True))


def quietly(action: Callable[[], object]) -> str:
    """What the TypeError says that ``action`` raises, and nothing else happens: no call runs, nothing warns."""
    with pytest.raises(TypeError) as raised:
        action()
    text = str(raised.value)
    raised.value.__traceback__ = None
    del raised
    gc.collect()
    return text


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (add, r"argument 2 is the compute function add, not a call of it: write add(...)"),
        ([1], "argument 2 is a list: unpack it, `gather(*calls)`"),
        (iter([1]), "argument 2 is a list_iterator: unpack it"),
        (5, "argument 2 is a int, not a call of a compute function"),
        ("five", "argument 2 is a str, not a call of a compute function"),
    ],
)
def test_gather_refuses_what_is_no_call_and_names_its_place(argument: Any, message: str) -> None:
    assert message in quietly(lambda: gather(one(), argument))


def test_gather_refuses_a_batch() -> None:
    assert "argument 1 is a batch: join batches by `&`" in quietly(lambda: gather(one() & one(), one()))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (bool, "neither true nor false"),
        (iter, "cannot be iterated"),
        (len, "has no length"),
        (lambda p: p[0], "has no items"),
        (lambda p: p == 3, "cannot be compared with a value"),
        (lambda p: p != "x", "cannot be compared with a value"),
        (lambda p: np.arange(3) == p, "cannot be compared with a value"),
        (lambda p: p < 3, "cannot be compared"),
        (lambda p: p >= 3, "cannot be compared"),
        (lambda p: [0, 1].index(p), "cannot be compared"),
        (lambda p: asyncio.run(wait_for(p)), r"await pool\.arun"),
        (pickle.dumps, "cannot be copied or sent"),
        (copy.copy, "cannot be copied or sent"),
        (lambda p: pool >> p, r"left of `>>`: write `.* >> pool`"),
        (lambda p: pool @ p, r"left of `@`: write `.* @ pool`"),
        (lambda p: p >> None, "cannot be sent to None: the right operand must be a pool"),
        (lambda p: p >> 3, "cannot be sent to int"),
        (lambda p: p & 3, r"one side is a int.*parentheses are needed"),
        (lambda p: 3 & p, r"one side is a int.*parentheses are needed"),
        (lambda p: np.arange(3) & p, r"one side is a ndarray"),
        (lambda p: p & add, r"add is a function that was not called: write add\(\.\.\.\)"),
    ],
)
@pytest.mark.parametrize("make", [lambda: add(1), lambda: add(1) & add(2)], ids=["pending", "batch"])
def test_using_a_pending_as_a_result_says_how_to_get_one(
    make: Callable[[], Any], misuse: Callable[[Any], object], message: str
) -> None:
    assert re.search(message, quietly(lambda: misuse(make())))
    assert pool.ran == []


async def wait_for(pending: Any) -> None:
    await pending


def test_a_batch_cannot_be_broadcast() -> None:
    assert "a batch cannot be broadcast" in quietly(lambda: (one() & one()) @ pool)


def test_a_pending_cannot_be_broadcast_to_what_is_no_pool() -> None:
    assert "cannot be sent to list: the right operand must be a pool, `one() @ pool`" in quietly(lambda: one() @ [])  # type: ignore[operator]


def test_an_attribute_of_the_result_is_not_found_on_the_pending() -> None:
    pending = add(1)
    with pytest.raises(AttributeError, match=r"`\(add\(\.\.\.\) >> pool\)\.shape`"):
        pending.shape  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(pending, "_repr_html_")
    pending.dispatched = True


def test_pendings_are_equal_to_themselves_alone_and_can_be_keys() -> None:
    first, second = add(1), add(1)
    assert first == first
    assert first != second
    assert first != None  # noqa: E711
    assert {first: "a", second: "b"}[second] == "b"
    first.dispatched = second.dispatched = True


def test_repr_names_the_call_without_its_arguments() -> None:
    pending, batch = add(1), one() & one() & one() & one()
    assert repr(pending) == "<pending add(...)>"
    assert repr(batch) == "<pending (one() & one() & one() & ...)>"
    assert repr(gather()) == "<pending gather()>"
    pending.dispatched = batch.dispatched = True


# ---- a call that nobody dispatched ---------------------------------------------------------------------------------


def warned(action: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
        gc.collect()
    assert all(item.category is SkywardWarning and item.filename == __file__ for item in caught)
    return [f"{item.lineno - action.__code__.co_firstlineno}: {item.message}" for item in caught]


def test_a_pending_that_is_dropped_warns_with_its_name_and_line() -> None:
    def forget() -> None:
        add(1)

    (text,) = warned(forget)
    assert text.startswith("1: add(...) was never dispatched, so nothing ran: write `add(...) >> pool`")
    assert f"{__file__}:{forget.__code__.co_firstlineno + 1}" in text


def test_a_batch_that_is_dropped_warns_once() -> None:
    def forget() -> None:
        one() & add(1) & add(2)

    (text,) = warned(forget)
    assert text.startswith("1: a batch of 3 calls, the first one(), was never dispatched")


def test_only_what_was_not_dispatched_of_a_batch_warns() -> None:
    def forget() -> None:
        pending = one()
        batch = pending & add(1)
        pending >> pool
        del batch

    assert [text[:10] for text in warned(forget)] == ["2: add(..."]


def test_what_was_dispatched_does_not_warn() -> None:
    def use() -> None:
        add(1) >> pool
        one() @ pool
        first, second = one(), one()
        (first & second & one()) >> pool

    assert warned(use) == []


def test_a_loop_warns_once_for_its_line_under_the_standard_filters() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            add(1)
    assert len(caught) == 1


def test_a_pending_left_over_at_the_end_of_the_interpreter_warns_and_harms_nothing() -> None:
    code = "from skyward.function import compute\nleft = compute(abs)(1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
