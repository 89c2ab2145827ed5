"""What integrations of frameworks put around functions that run together, and that no stop tears what undoes it."""

from __future__ import annotations

import functools
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import skyward as sky
from skyward.spi import current_group, grouped, uninterrupted

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


class Noting:
    """An integration that notes where its block begins and ends."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    @contextmanager
    def _block(self, name: str) -> Iterator[None]:
        self.notes.append(name)
        yield
        self.notes.append(f"/{name}")

    def __call__(self, name: str, **more: Any) -> Callable[[Any], sky.ComputeFunction[..., Any]]:
        entered = functools.partial(self._block, name)
        return lambda function: grouped(function, entered, name=name.rstrip("'"), **more)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def block(notes: list[str]) -> Noting:
    return Noting(notes)


def test_a_function_keeps_what_it_is_and_runs_in_the_block(block: Noting, notes: list[str]) -> None:
    @sky.compute(retry=2)
    def total(a: int, b: int = 2) -> int:
        """Adds."""
        notes.append("total")
        return a + b

    made = block("acme")(total)
    assert made.local(1, b=3) == 4
    assert notes == ["acme", "total", "/acme"]
    assert (made.name, made.__doc__, made.retry, made.together) == ("total", "Adds.", 2, True)
    assert not total.together


@pytest.mark.parametrize("name", ["acme", "further"])
def test_what_a_function_does_not_take_is_refused_where_it_is_called_and_not_by_a_node(
    block: Noting, name: str
) -> None:
    @block(name)
    @block("acme")
    def scaled(value: float, *, by: float = 2.0) -> float:
        return value * by

    with pytest.raises(TypeError, match="missing a required argument: 'value'"):
        scaled()
    with pytest.raises(TypeError, match="'to'"):
        scaled(1.0, to=3.0)
    assert scaled.local(1.0, by=3.0) == 3.0


def test_the_nearer_setting_stands(block: Noting, notes: list[str]) -> None:
    nearer = block("acme")(len)
    assert block("acme'")(nearer) is nearer
    between = block("acme'")(block("other")(nearer))
    assert between.local("four") == 4
    assert notes == ["other", "acme", "/acme", "/other"]


def test_a_function_is_in_the_group_of_one_integration_and_another_one_is_refused_where_it_is_applied(
    block: Noting,
) -> None:
    def train() -> None: ...

    one, other, state = block("one", forms_group=True), block("other", forms_group=True), block("state", inside="one")
    assert state(one(one(train))).together
    for grouped_already in (one(train), state(one(train)), one(state(train))):
        with pytest.raises(sky.ConfigurationError) as caught:
            other(grouped_already)
        assert str(caught.value) == (
            "one and other would each form a group around train, and a call is in one: apply one of them, and run it "
            "in a pool without the other one's integration in plugins=[...]"
        )


def test_a_block_goes_inside_of_the_one_that_it_needs_in_either_order(block: Noting, notes: list[str]) -> None:
    group, state = block("group"), block("state", inside="group")
    for made in (state(group(len)), group(state(len)), state(block("further")(group(len)))):
        notes.clear()
        assert made.local("four") == 4
        begun = [note for note in notes if note[0] != "/" and note != "further"]
        assert begun == ["group", "state"]
        assert state(made) is made
        assert made.together


def test_a_function_that_calls_another_one_of_its_kind_stays_in_its_block(block: Noting, notes: list[str]) -> None:
    inner = block("acme")(len)

    @block("acme'")
    def outer(text: str) -> int:
        return int(inner.local(text))

    assert outer.local("four") == 4
    assert notes == ["acme'", "/acme'"]
    assert inner.local("four") == 4
    assert notes == ["acme'", "/acme'", "acme", "/acme"]


def test_threads_that_run_functions_by_themselves_are_each_in_a_block(block: Noting, notes: list[str]) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    waiting = block("acme")(lambda _: both.wait())
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(waiting.local, range(2)))
    assert notes == ["acme", "acme", "/acme", "/acme"]


def test_of_several_integrations_each_is_asked_for_consequences_and_for_what_a_process_is_bound_to(
    block: Noting,
) -> None:
    def is_(kind: type[Exception]) -> Callable[[BaseException], bool]:
        return lambda error: isinstance(error, kind)

    def probed(*told: str | None) -> Any:
        made: Any = len
        for number, each in enumerate(told):
            made = block(str(number), bound_to=lambda _size, each=each: each)(made)
        return pickle.loads(cloudpickle.dumps(made.bound_to))(2)

    judged: Any = block("b", is_consequence=is_(OSError))(block("a", is_consequence=is_(ValueError))(len))
    assert [judged.is_consequence(each) for each in (OSError(), ValueError(), KeyError())] == [True, True, False]
    assert (probed(""), probed("x"), probed(None)) == ("", "x", None)
    assert (probed("", ""), probed("x", ""), probed("", None), probed(None, "x")) == ("", "x", None, None)
    assert probed("x", "y") not in {"", None, "x", "y"}
    assert not hasattr(block("a")(len), "bound_to")
    inside: Any = block("b", inside="a", is_consequence=is_(OSError))(
        block("a", bound_to=lambda size: str(size), is_consequence=is_(ValueError))(len)
    )
    assert (inside.bound_to(3), inside.is_consequence(OSError()), inside.is_consequence(ValueError())) == (
        *("3", True, True),
    )


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, display="quiet", lease=60.0) as made:
        yield made


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < limit:
        time.sleep(0.005)


def is_stopped() -> bool:
    """On a node: whether the running task has been told to end, and does not know it yet."""
    from skyward.worker import interrupts

    return bool(interrupts.armed and interrupts.armed._pending)


@pytest.mark.parametrize("fails", [True, False], ids=["that-fails-too", "that-completes"])
def test_a_rank_that_is_stopped_while_it_undoes_its_block_undoes_it_to_the_end(
    pool: sky.ComputePool, tmp_path: Path, fails: bool
) -> None:
    @contextmanager
    def undone_to_the_end() -> Iterator[None]:
        try:
            yield
        finally:
            if current_group().rank == 0:  # type: ignore[union-attr]
                with uninterrupted():
                    (tmp_path / "begun").touch()
                    until(is_stopped)
                    (tmp_path / "undone").touch()

    def fail() -> None:
        if current_group().rank == 1:  # type: ignore[union-attr]
            until((tmp_path / "begun").exists)
            raise ValueError("the cause")
        if fails:
            raise OSError("a consequence")

    together = grouped(fail, undone_to_the_end, name="acme", is_consequence=lambda error: isinstance(error, OSError))
    pids = sky.ComputeFunction(os.getpid, together=True)
    before = pids() @ pool
    with pytest.raises(ValueError, match="the cause") as caught:
        together() @ pool
    assert (tmp_path / "undone").exists()
    (note,) = [note for note in caught.value.__notes__ if note.startswith("this ended")]
    assert note.endswith("rank 0 ended with OSError: a consequence" if fails else "rank 0 was stopped")
    assert pids() @ pool == before  # nobody had to be killed


def test_a_function_that_fails_is_stopped_no_more_even_where_its_block_says_nothing_of_that(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    @contextmanager
    def plain() -> Iterator[None]:
        try:
            yield
        finally:
            if current_group().rank == 0:  # type: ignore[union-attr]
                (tmp_path / "begun").touch()
                until(is_stopped)
                (tmp_path / "undone").touch()

    def fail() -> None:
        if current_group().rank == 0:  # type: ignore[union-attr]
            raise OSError("a consequence")
        until((tmp_path / "begun").exists)
        raise ValueError("the cause")

    together = grouped(fail, plain, name="acme", is_consequence=lambda error: isinstance(error, OSError))
    with pytest.raises(ValueError, match="the cause"):
        together() @ pool
    assert (tmp_path / "undone").exists()


def test_a_task_that_follows_can_be_stopped_again(pool: sky.ComputePool, tmp_path: Path) -> None:
    @contextmanager
    def block() -> Iterator[None]:
        yield

    def fail(*, last: bool) -> None:
        if not last:
            raise ValueError("of the one before")
        if current_group().rank == 1:  # type: ignore[union-attr]
            raise ValueError("the cause")
        try:
            time.sleep(PATIENCE)
        except KeyboardInterrupt:
            (tmp_path / "stopped").touch()
            raise

    together = grouped(fail, block, name="acme")
    for last in (False, True):
        with pytest.raises(ValueError):
            together(last=last) @ pool
    assert (tmp_path / "stopped").exists()
