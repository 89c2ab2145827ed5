"""What integrations put around a pool's block: entered when it is ready, left before its machines end."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import field, frozen

import skyward as sky
from skyward.spi import Surrounding

LIMIT = 60.0


@sky.compute
def double(number: int) -> int:
    return 2 * number


@frozen
class Noting:
    """Puts notes around each block, and calls the pool from there."""

    name: str
    notes: list[Any] = field(eq=False)
    fails: str = ""

    def __call__(self, function: Any) -> Any:
        return function

    @contextlib.contextmanager
    def around(self, pool: sky.ComputePool) -> Iterator[None]:
        if self.fails == "entering":
            raise LookupError(f"{self.name} cannot be entered")
        self.note("in", pool)
        try:
            yield
        except BaseException as error:
            self.notes.append((self.name, type(error).__name__))
            raise
        finally:
            self.note("out", pool)
            if self.fails == "leaving":
                raise LookupError(f"{self.name} cannot be left")

    def note(self, what: str, pool: sky.ComputePool) -> None:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self.notes.append((self.name, what, pool.is_active))
            return
        self.notes.append((self.name, what, pool.run(double(21))))


def pool_with(*plugins: Noting, **parameters: Any) -> sky.ComputePool:
    return sky.ComputePool(plugins=plugins, display="quiet", **parameters)


def test_it_is_entered_in_order_when_the_pool_takes_tasks_and_left_in_reverse_order_while_it_still_does() -> None:
    notes: list[Any] = []
    with pool_with(Noting("one", notes), Noting("two", notes)) as pool:
        notes.append("block")
        assert double(2) >> pool == 4
    assert notes == [("one", "in", 42), ("two", "in", 42), "block", ("two", "out", 42), ("one", "out", 42)]


def test_it_sees_what_ends_the_block_and_what_it_raises_on_leaving_keeps_no_machine() -> None:
    notes: list[Any] = []
    pool = pool_with(Noting("one", notes), Noting("two", notes, fails="leaving"))
    with pytest.raises(LookupError, match="two cannot be left") as caught, pool:
        raise ValueError("of the block")
    assert isinstance(caught.value.__context__, ValueError)
    assert notes[2:] == [("two", "ValueError"), ("two", "out", 42), ("one", "LookupError"), ("one", "out", 42)]
    assert (pool.is_active, pool.instance_count) == (False, 0)


def test_it_cannot_swallow_what_the_block_raises() -> None:
    class Swallowing:
        def __call__(self, function: Any) -> Any:
            return function

        def around(self, pool: sky.ComputePool) -> Any:
            return contextlib.suppress(Exception)

    with (
        pytest.raises(ValueError, match="of the block"),
        sky.ComputePool(plugins=[Swallowing()], display="quiet"),
    ):
        raise ValueError("of the block")


class Careless:
    def __call__(self, function: Any) -> Any:
        return function

    def around(self, pool: sky.ComputePool) -> Any:
        return None


@pytest.mark.parametrize("how", ["with", "async with", "MultiPool", "async MultiPool", "Executor"])
def test_one_that_cannot_be_entered_ends_the_pool_and_leaves_the_others(how: str) -> None:
    notes: list[Any] = []
    plugins = [Noting("one", notes), Noting("two", notes, fails="entering")]
    ended: list[sky.ComputePool] = []

    def make(*some: Noting) -> sky.ComputePool:
        ended.append(pool_with(*some or plugins))
        return ended[-1]

    async def enter(block: Any) -> None:
        async with block:
            raise AssertionError("entered")

    with pytest.raises(LookupError, match="two cannot be entered"):
        if how == "with":
            with make():
                raise AssertionError("entered")
        elif how == "MultiPool":
            with sky.MultiPool(make(plugins[0]), make(plugins[1])):
                raise AssertionError("entered")
        elif how == "Executor":
            executor = sky.Executor(plugins=plugins, display="quiet")
            ended.append(executor._pool)
            executor.submit(abs, -1)
        else:
            both = how == "async MultiPool"
            asyncio.run(enter(sky.MultiPool(make(plugins[0]), make(plugins[1])) if both else make()))
    assert [note[:2] for note in notes] == [("one", "in"), ("one", "LookupError"), ("one", "out")]
    assert ended
    assert all(repr(pool).endswith("ended>") for pool in ended)


def test_what_is_no_context_manager_is_refused_with_the_integrations_name() -> None:
    pool = sky.ComputePool(plugins=[Careless()], display="quiet")
    with pytest.raises(sky.PluginError, match="around of the integration Careless returned None, which is no context"):
        pool.__enter__()
    assert not pool.is_active


def test_each_way_to_enter_a_pool_puts_it_around_its_block() -> None:
    notes: list[Any] = []
    entered = [("one", "in", 42), "block", ("one", "out", 42)]
    one = Noting("one", notes)

    @sky.pool(plugins=[one], display="quiet")
    def decorated() -> None:
        notes.append("block")

    decorated()
    assert notes == entered
    notes.clear()
    with sky.Executor(plugins=[one], display="quiet") as executor:
        notes.append("block")
        assert executor.submit(abs, -2).result(LIMIT) == 2
    assert notes == entered
    notes.clear()
    with sky.MultiPool(pool_with(one), pool_with(Noting("two", notes))):
        notes.append("block")
    assert notes == [("one", "in", 42), ("two", "in", 42), "block", ("two", "out", 42), ("one", "out", 42)]


def test_in_coroutines_it_is_entered_and_left_in_the_task_of_the_block() -> None:
    notes: list[Any] = []
    one = Noting("one", notes)

    async def main() -> None:
        async with pool_with(one) as pool:
            notes.append(await pool.arun(double(2)))
        async with sky.MultiPool(pool_with(one), pool_with(one)):
            notes.append("both")

    asyncio.run(main())
    single = ("one", "in", True), 4, ("one", "out", True)
    assert notes == [*single, ("one", "in", True), ("one", "in", True), "both", *[("one", "out", True)] * 2]


def test_it_is_entered_and_left_on_the_thread_of_the_block() -> None:
    where: list[int] = []

    class Placed(Noting):
        @contextlib.contextmanager
        def around(self, pool: sky.ComputePool) -> Iterator[None]:
            where.append(threading.get_ident())
            yield
            where.append(threading.get_ident())

    def work() -> None:
        where.append(threading.get_ident())
        with pool_with(Placed("one", [])):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LIMIT)
    assert where == [where[0]] * 3
    assert where[0] != threading.get_ident()


PROGRAM = """
import contextlib, os, signal, sys
import skyward as sky

class Noting:
    def __call__(self, function):
        return function
    @contextlib.contextmanager
    def around(self, pool):
        print("in", flush=True)
        try:
            if HOW == "entering":
                os.kill(os.getpid(), signal.SIGINT)
            yield
        finally:
            print("out", pool.is_active, flush=True)

HOW = sys.argv[1]
if HOW == "executor":
    executor = sky.Executor(plugins=[Noting()], display="quiet")
    print(executor.submit(abs, -2).result(), flush=True)
elif HOW == "pool":
    sky.ComputePool(plugins=[Noting()], display="quiet").__enter__()
elif HOW == "entering":
    pool = sky.ComputePool(plugins=[Noting()], display="quiet")
    try:
        pool.__enter__()
    except KeyboardInterrupt:
        print("caught", pool.instance_count, repr(pool), flush=True)
"""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("executor", "in\n2\nout True\n"),
        ("pool", "in\nout True\n"),
        ("entering", "in\nout True\ncaught 0 <ComputePool of 1 node(s) on Local, ended>\n"),
    ],
)
def test_it_is_left_when_the_program_ends_without_a_block_or_is_interrupted_on_entering(how: str, says: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
    assert done.stdout == says, done.stderr


def test_what_puts_nothing_around_is_not_asked_to() -> None:
    assert isinstance(Noting("one", []), Surrounding)
    assert not isinstance(sky.compute, Surrounding)
