"""`compose`, `use_callback` and `emit`."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from skyward import _current
from skyward._events import EventBus, compose, emit, use_callback
from skyward.errors import ConfigurationError
from skyward.model.events import Error, LogLine, NodeReady, PoolStopping, SkywardEvent

LONG = 30.0


class Pool:
    """As much of a pool as callbacks see."""

    def __init__(self) -> None:
        self.events = EventBus()


@contextmanager
def entered(pool: Pool) -> Iterator[Pool]:
    _current.enter(cast("Any", pool))
    pool.events.adopt()
    try:
        yield pool
    finally:
        pool.events.close()
        _current.leave(cast("Any", pool))


def test_a_composed_callback_calls_all_in_order() -> None:
    calls: list[str] = []
    combined = compose(lambda event: calls.append("first"), lambda event: calls.append("second"))
    assert combined(PoolStopping()) is None
    assert calls == ["first", "second"]


def test_what_a_callback_returns_is_what_the_next_ones_get() -> None:
    seen: list[SkywardEvent] = []

    def hide(event: SkywardEvent) -> SkywardEvent | None:
        return Error("hidden") if isinstance(event, Error) else None

    combined = compose(seen.append, compose(hide), seen.append)
    assert combined(Error("secret")) == Error("hidden")
    assert seen == [Error("secret"), Error("hidden")]
    assert combined(PoolStopping()) is None


def test_a_returned_value_that_is_no_event_changes_nothing() -> None:
    seen: list[SkywardEvent] = []
    combined = compose(lambda event: cast("Any", True), seen.append)
    assert combined(PoolStopping()) is None
    assert seen == [PoolStopping()]


def test_one_failing_callback_keeps_the_event_from_no_other() -> None:
    seen: list[SkywardEvent] = []

    def faulty(event: SkywardEvent) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        compose(faulty, seen.append)(PoolStopping())
    with pytest.raises(ExceptionGroup) as group:
        compose(faulty, seen.append, faulty)(PoolStopping())
    assert len(group.value.exceptions) == 2
    assert len(seen) == 2


def test_composing_nothing_passes_every_event_on() -> None:
    assert compose()(PoolStopping()) is None


def test_a_composed_callback_is_named_after_its_parts() -> None:
    def one(event: SkywardEvent) -> None: ...

    assert compose(one).__qualname__.startswith("compose(")
    assert "one" in compose(one).__qualname__


def test_emitting_where_nobody_listens_does_nothing() -> None:
    emit(PoolStopping())


def test_emitting_what_is_not_an_event_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not str"):
        emit(cast("Any", "hello"))


def test_emit_outside_a_pool_calls_the_callbacks_around_it_at_once() -> None:
    outer: list[SkywardEvent] = []
    inner: list[SkywardEvent] = []
    with use_callback(outer.append):
        with use_callback(inner.append):
            emit(PoolStopping())
            assert (outer, inner) == ([PoolStopping()], [PoolStopping()])
        emit(Error("x"))
    emit(Error("y"))
    assert outer == [PoolStopping(), Error("x")]
    assert inner == [PoolStopping()]


def test_a_failing_callback_of_a_block_is_reported_once_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    def faulty(event: SkywardEvent) -> None:
        raise KeyError("x")

    with use_callback(faulty):
        emit(PoolStopping())
        emit(PoolStopping())
    assert len(caplog.records) == 1
    assert "faulty" in caplog.text


def test_emit_in_a_pool_reaches_its_subscribers_and_each_callback_once() -> None:
    seen: list[SkywardEvent] = []
    around: list[SkywardEvent] = []
    within: list[SkywardEvent] = []
    with use_callback(around.append), entered(Pool()) as pool:
        pool.events.subscribe(seen.append)
        with use_callback(within.append):
            emit(PoolStopping())
        emit(Error("x"))
    assert seen == around == [PoolStopping(), Error("x")]
    assert within == [PoolStopping()]


def test_a_pool_entered_in_a_block_delivers_what_it_says_itself() -> None:
    seen: list[SkywardEvent] = []
    with use_callback(seen.append), entered(Pool()) as pool:
        pool.events.adopt()
        pool.events.emit(NodeReady(0, "i-0"))
    assert seen == [NodeReady(0, "i-0")]


def test_a_block_in_a_pool_gets_what_the_pool_says_until_it_ends() -> None:
    seen: list[SkywardEvent] = []
    with entered(Pool()) as pool:
        with use_callback(seen.append):
            pool.events.emit(NodeReady(0, "i-0"))
        assert seen == [NodeReady(0, "i-0")]
        pool.events.emit(NodeReady(1, "i-1"))
    assert seen == [NodeReady(0, "i-0")]


def test_a_new_thread_begins_without_callbacks() -> None:
    seen: list[SkywardEvent] = []
    with use_callback(seen.append):
        thread = threading.Thread(target=emit, args=(PoolStopping(),))
        thread.start()
        thread.join(LONG)
    assert seen == []


def test_a_block_may_be_left_in_another_context_than_it_was_entered_in() -> None:
    seen: list[SkywardEvent] = []

    def fixture() -> Generator[None]:
        with use_callback(seen.append):
            yield

    generator = fixture()
    contextvars.copy_context().run(next, generator)
    assert next(generator, "ended") == "ended"
    emit(PoolStopping())
    assert seen == []


def test_an_async_callback_is_refused_where_it_is_given() -> None:
    async def coroutine(event: SkywardEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        compose(cast("Any", coroutine))
    with pytest.raises(ConfigurationError, match="plain function"), use_callback(cast("Any", coroutine)):
        pass


def test_an_exception_in_the_block_passes_and_ends_it() -> None:
    seen: list[SkywardEvent] = []
    with pytest.raises(ZeroDivisionError), use_callback(seen.append):
        raise ZeroDivisionError
    emit(LogLine(0, "i", "x", 0.0))
    assert seen == []
