"""Wherever Ctrl-C strikes the main thread while it waits or wakes another one, nothing stays locked."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import count

import pytest
from striking import guarded, strike

import skyward as sky
from skyward import _calls
from skyward._current import current_pool
from skyward._interrupts import shield
from skyward._waiting import AutoResetEvent, wait_for

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def waiting(*, or_a_failure: bool = False) -> Callable[[list[Future[None]]], None]:
    def wait(futures: list[Future[None]]) -> None:
        with shield:
            wait_for(futures, or_a_failure=or_a_failure)

    return wait


def test_all_are_waited_for_or_the_first_failure() -> None:
    all_of, first_of = waiting(), waiting(or_a_failure=True)
    all_of([])
    for done in ("result", "exception", "cancelled"):
        futures: list[Future[None]] = [Future(), Future()]
        if done == "cancelled":
            futures[0].cancel()
        elif done == "exception":
            futures[0].set_exception(ValueError())
        else:
            futures[0].set_result(None)
        if done != "result":
            first_of(futures)
        for wait in (all_of, first_of):
            waiter = beside(lambda wait=wait, futures=futures: wait(futures))  # type: ignore[misc]
            if wait is all_of or done == "result":
                waiter.join(0.01)
                assert waiter.is_alive()
                futures[1].set_result(None)
            waiter.join(PATIENCE)
            assert not waiter.is_alive()
            futures[1] = Future()


def test_who_is_waited_for_comes_to_its_end_wherever_the_interrupt_strikes() -> None:
    with guarded():
        for at in count():
            future: Future[None] = Future()
            struck = threading.Event()

            def come(future: Future[None] = future, struck: threading.Event = struck) -> None:
                struck.wait(0.02)  # at the latest: it is waited for by then
                future.set_result(None)

            end = beside(come)
            outcome = strike(at, lambda future=future: waiting()([future]))  # type: ignore[misc]
            struck.set()
            end.join(PATIENCE)
            assert not end.is_alive(), f"the interrupt at point {at} holds it up"
            if outcome is None:
                break
        assert at > 20, "all of them have been tried"


def test_who_is_woken_wakes_wherever_the_interrupt_strikes() -> None:
    with guarded():
        for at in count():
            event = AutoResetEvent()
            struck = strike(at, event.set)

            def wake(event: AutoResetEvent = event) -> None:
                event.set()
                event.wait()
                event.clear()

            woken = beside(wake)
            woken.join(PATIENCE)
            assert not woken.is_alive(), f"the interrupt at point {at} holds it up"
            if struck is None:
                break
        assert at > 1, "all of them have been tried"


def test_an_event_is_over_once_it_was_seen_or_taken_back() -> None:
    event = AutoResetEvent()
    event.set()
    event.set()
    assert event.wait(0)
    assert not event.wait(0)
    event.set()
    event.clear()
    event.clear()
    assert not event.wait(0)


def test_a_window_within_a_window_leaves_the_shield_as_it_was_wherever_the_interrupt_strikes() -> None:
    def within() -> None:
        with shield, shield.window(), shield, shield.window():
            pass

    with guarded():
        for at in count():
            struck = strike(at, within)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)  # in no shield: it is not put off
            reached = False
            with pytest.raises(KeyboardInterrupt), shield:
                signal.raise_signal(signal.SIGINT)
                reached = True
            assert reached, f"the interrupt at point {at} leaves the shield open"
            if struck is None:
                break
            assert struck, f"the interrupt at point {at} is lost"
        assert at > 20, "all of them have been tried"


ended: list[bool] = []


@shield.entered_by
def end_of_a_block() -> None:
    with shield:
        ended.append(True)


def test_the_end_of_a_block_is_come_to_wherever_the_interrupt_strikes() -> None:
    with guarded():
        for at in count():
            ended.clear()
            struck = strike(at, end_of_a_block)
            assert ended, f"the interrupt at point {at} is all that becomes of it"
            if struck is None:
                break
            assert struck, f"the interrupt at point {at} is lost"
        assert at > 5, "all of them have been tried"


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(display="quiet", lease=60.0) as made:
        yield made


@pytest.mark.filterwarnings("ignore:.*was never dispatched")  # which is true of what was interrupted
@pytest.mark.parametrize("call", ["run", "broadcast", "submit", "extend"])
def test_a_pool_serves_on_wherever_an_interrupt_strikes_a_call(
    pool: sky.ComputePool, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_calls, "_LAST_PATIENCE", 100 * PATIENCE)  # for a task that stops, which each of these does
    one = sky.compute(abs)
    calls = {
        "run": lambda: one(-1) >> pool,
        "broadcast": lambda: one(-1) @ pool,
        "submit": lambda: pool.submit(one(-1)),
        "extend": lambda: pool.extend(1000.0),
    }
    for at in count():
        struck = strike(at, calls[call], within="skyward/")
        assert one(-1) >> pool == 1
        assert pool.submit(one(-1)).result(PATIENCE) == 1
        if struck is None:
            break
    assert at > 20, "all of them have been tried"


@pytest.mark.filterwarnings("ignore:.*was never dispatched")  # which is true of what was interrupted
def test_an_executor_ends_wherever_an_interrupt_strikes_its_submission(pool: sky.ComputePool) -> None:
    for at in count():
        executor = pool.executor()
        struck = strike(at, lambda: executor.submit(abs, -1))  # noqa: B023
        end = beside(executor.shutdown)
        end.join(PATIENCE)
        assert not end.is_alive(), f"the interrupt at point {at} holds it up"
        assert sky.compute(abs)(-1) >> pool == 1
        if struck is None:
            break
    assert at > 50, "all of them have been tried"


@pytest.mark.parametrize("number", [1, 2])
def test_no_pool_stays_open_wherever_an_interrupt_strikes_its_block(number: int) -> None:
    def enter_and_leave() -> None:
        with pools[0] if number == 1 else sky.MultiPool(*pools):
            pass

    before = current_pool()
    for file in ("_pool.py", "_multi.py", "_current.py", "_around.py"):
        for at in count():
            pools = [sky.ComputePool(display="quiet", lease=60.0) for _ in range(number)]
            struck = strike(at, enter_and_leave, within=f"skyward/{file}")
            left_open = [pool for pool in pools if pool._engine.is_active]
            assert not left_open, f"the interrupt at point {at} of {file} leaves it open"
            assert current_pool() is before
            if struck is None:
                break
