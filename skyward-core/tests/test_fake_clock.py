"""Virtual time: it stands still until it is told to go on, and does what is due on the way, each at its own moment."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward import _clock
from skyward.errors import ConfigurationError
from skyward.testing import FakeCloud, VirtualClock
from skyward.testing._loop import ClientDied, VirtualLoop, run, running_clock, virtually

# the clock


def test_a_virtual_clock_begins_at_nought_and_at_the_present_whole_second() -> None:
    before = math.floor(time.time())
    clock = VirtualClock()
    assert clock.monotonic() == 0
    assert before <= clock.time() <= time.time()
    assert clock.time() == int(clock.time())


def test_both_readings_advance_together_and_only_when_told() -> None:
    clock = VirtualClock()
    epoch = clock.time()
    clock.advance(0.25)
    clock.advance(3600)
    assert (clock.monotonic(), clock.time() - epoch) == (3600.25, 3600.25)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_time_goes_neither_back_nor_on_for_ever(seconds: float) -> None:
    clock = VirtualClock()
    with pytest.raises(ConfigurationError, match="give seconds, 0 or more"):
        clock.advance(seconds)
    assert clock.monotonic() == 0


@given(st.lists(st.integers(0, 1000)), st.lists(st.integers(0, 300), max_size=8))
def test_what_is_due_is_done_once_in_order_and_at_its_moment(moments: list[int], advances: list[int]) -> None:
    clock = VirtualClock()
    done: list[tuple[float, int]] = []

    def note(moment: int) -> None:
        done.append((clock.monotonic(), moment))

    for moment in moments:
        clock.call_at(moment, functools.partial(note, moment))
    for seconds in advances:
        clock.advance(seconds)
    assert clock.monotonic() == sum(advances)
    past = sorted(moment for moment in moments if moment <= clock.monotonic()) if advances else []
    assert [moment for _, moment in done] == past
    assert all(now == moment for now, moment in done)


def test_what_is_due_may_ask_for_more_on_the_way() -> None:
    clock = VirtualClock()
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock.monotonic())
        clock.call_at(clock.monotonic() + 10, ring)

    clock.call_at(10, ring)
    clock.advance(35)
    assert rung == [10, 20, 30]
    assert clock.next_alarm == 40


def test_what_is_cancelled_is_not_done() -> None:
    clock = VirtualClock()
    alarm = clock.call_at(5, lambda: pytest.fail("it was cancelled"))
    alarm.cancel()
    assert clock.next_alarm is None
    clock.advance(10)


# the clock in use


def test_the_clock_in_use_is_the_innermost_blocks_whatever_order_they_end_in() -> None:
    system = _clock.current()
    outer, inner = VirtualClock(), VirtualClock()
    first, second = _clock.use(outer), _clock.use(inner)
    first.__enter__()
    second.__enter__()
    assert _clock.current() is inner
    first.__exit__(None, None, None)
    assert _clock.current() is inner
    second.__exit__(None, None, None)
    assert _clock.current() is system


def test_other_threads_read_the_clock_in_use_too() -> None:
    seen: list[object] = []
    clock = VirtualClock()
    with _clock.use(clock):
        thread = threading.Thread(target=lambda: seen.append(_clock.current()))
        thread.start()
        thread.join()
    assert seen == [clock]


def test_a_cloud_takes_the_clock_of_its_surroundings() -> None:
    with FakeCloud() as outer:
        assert FakeCloud().clock is outer.clock
    assert FakeCloud().clock is not outer.clock

    async def on_a_loop() -> bool:
        return FakeCloud().clock is running_clock() is not None

    assert run(on_a_loop())
    mine = VirtualClock()
    assert FakeCloud(clock=mine).clock is mine


# the loop


@virtually
async def test_an_hour_on_a_virtual_loop_is_over_at_once_and_the_clock_has_moved() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
    clock = running_clock()
    assert clock is not None
    assert clock.monotonic() == loop.time() == pytest.approx(3600)


@virtually
async def test_what_is_due_on_the_clock_is_done_while_the_loop_sleeps() -> None:
    clock = running_clock()
    assert clock is not None
    woken = asyncio.Event()
    clock.call_at(40, woken.set)
    await woken.wait()  # nothing else is on the loop
    assert clock.monotonic() == 40
    seen: list[float] = []
    clock.call_at(50, lambda: seen.append(clock.monotonic()))
    await asyncio.sleep(100)
    assert seen == [50]


def test_waiting_for_what_will_never_come_is_an_error_and_no_endless_wait() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def and_ever() -> None:
        while True:  # noqa: ASYNC110  that it ends is what is tested
            await asyncio.sleep(3600)

    with pytest.raises(AssertionError, match="something that will never come"):
        run(forever())
    with pytest.raises(AssertionError, match="nothing that was waited for has come in 14 days"):
        run(and_ever())


def test_a_client_that_dies_cleans_up_nothing() -> None:
    loop = VirtualLoop()
    said: list[str] = []

    async def client() -> None:
        try:
            await asyncio.sleep(1000)
        except BaseException:
            said.append("told")
            raise
        finally:
            said.append("cleaned up")

    loop.die_at(2)
    with pytest.raises(ClientDied, match="at step 2"):
        run(client(), loop)
    gc.collect()
    assert said == []
    again = VirtualLoop(loop.clock)
    run(asyncio.sleep(5), again)
    assert loop.clock.monotonic() == pytest.approx(5), "the next client goes on where the world is"
