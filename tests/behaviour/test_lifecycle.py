"""What a pool is before, inside and after its block."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest

import skyward as sky


def test_the_methods_do_what_the_operators_do(pool: sky.ComputePool, double: Any, where: Any) -> None:
    assert pool.run(double(2)) == 4
    assert pool.run_batch(double(1) & double(2)) == (2, 4)
    assert pool.run_batch(sky.gather(double(3))) == (6,)
    assert pool.broadcast(where()) == ((0, 0), (1, 0))
    assert pool.submit(double(5)).result() == 10


def test_a_pool_tells_its_state(provider: Any) -> None:
    pool = sky.ComputePool(provider, nodes=2, display="quiet")
    assert (pool.is_active, pool.instance_count) == (False, 0)
    assert (pool.nodes, pool.concurrency) == (2, 1)
    assert repr(pool) == f"<ComputePool of 2 node(s) on {provider.name}, new>"
    with pool:
        assert (pool.is_active, pool.instance_count) == (True, 2)
        assert repr(pool).endswith("active>")
    assert (pool.is_active, pool.instance_count) == (False, 0)
    assert repr(pool).endswith("ended>")


def test_nothing_is_bought_before_the_block(provider: Any, recorder: Any) -> None:
    sky.ComputePool(provider, display="quiet", on_event=recorder)
    assert recorder.events == []


def test_a_pool_that_is_not_entered_takes_no_task(provider: Any, double: Any) -> None:
    pool = sky.ComputePool(provider)
    for dispatch in (
        lambda: double(1) >> pool,
        lambda: double(1) @ pool,
        lambda: (double(1) & double(2)) >> pool,
        lambda: sky.gather() >> pool,
        lambda: pool.submit(double(1)),
        lambda: pool.extend(10),
    ):
        with pytest.raises(sky.UsageError, match=r"not entered: write `with sky\.ComputePool"):
            dispatch()


def test_a_pool_that_has_ended_takes_no_task(provider: Any, double: Any) -> None:
    with sky.ComputePool(provider, display="quiet") as pool:
        pass
    for dispatch in (
        lambda: double(1) >> pool,
        lambda: double(1) @ pool,
        lambda: sky.gather(double(1)) >> pool,
        lambda: pool.submit(double(1)),
    ):
        with pytest.raises(sky.UsageError, match="this pool has ended"):
            dispatch()


def test_a_pool_is_entered_once(provider: Any, double: Any) -> None:
    pool = sky.ComputePool(provider, display="quiet")
    with pool:
        with pytest.raises(sky.UsageError, match="entered already"), pool:
            pass
        assert double(1) >> pool == 2
    with pytest.raises(sky.UsageError, match="has ended, and a pool is entered once"), pool:
        pass


def test_what_still_runs_at_the_end_of_the_block_fails_with_a_sentence(provider: Any) -> None:
    @sky.compute
    def endless() -> None:
        import threading

        threading.Event().wait()

    with sky.ComputePool(provider, display="quiet") as pool:
        running, waiting = pool.submit(endless()), pool.submit(endless())
    for future in (running, waiting):
        with pytest.raises(sky.UsageError, match="the pool has ended while the task was waiting or running"):
            future.result(timeout=60)


def test_a_thread_that_waits_when_the_pool_ends_is_told(provider: Any, recorder: Any) -> None:
    @sky.compute
    def endless() -> None:
        import threading

        threading.Event().wait()

    said: list[BaseException] = []

    def work() -> None:
        try:
            endless() >> pool
        except sky.UsageError as error:
            said.append(error)

    with sky.ComputePool(provider, display="quiet", on_event=recorder) as pool:
        thread = threading.Thread(target=work)
        thread.start()
        recorder.wait(lambda event: isinstance(event, sky.TaskStarted))
    thread.join(60)
    assert "the pool has ended" in str(said[0])


def test_an_exception_in_the_block_ends_the_pool_and_goes_on(provider: Any) -> None:
    pool = sky.ComputePool(provider, display="quiet")
    with pytest.raises(KeyError, match="mine"), pool:
        raise KeyError("mine")
    assert not pool.is_active


def test_a_pool_may_be_left_by_another_thread_and_says_so_where_it_is_still_current(provider: Any, double: Any) -> None:
    pool = sky.ComputePool(provider, display="quiet")

    def work() -> None:
        pool.__enter__()
        thread = threading.Thread(target=pool.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        assert not pool.is_active
        with pytest.raises(sky.UsageError, match="this pool has ended"):
            double(1) >> sky

    contextvars.copy_context().run(work)


def test_leaving_twice_changes_nothing(provider: Any) -> None:
    pool = sky.ComputePool(provider, display="quiet")
    with pool:
        pass
    pool.__exit__(None, None, None)
    assert repr(pool).endswith("ended>")


def test_no_thread_of_a_pool_outlives_it(provider: Any, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = threading.Thread.run

    def linger(self: threading.Thread) -> None:
        run(self)
        threading.Event().wait(0.05)  # so that one which nobody waits for is still there

    monkeypatch.setattr(threading.Thread, "run", linger)
    before = {thread.ident for thread in threading.enumerate()}
    with sky.ComputePool(provider, nodes=2, display="quiet", on_event=lambda _: None) as pool:
        pool.submit(double(1)).result()
    left = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    assert [name for name in left if name.startswith("skyward")] == []


def test_a_pool_needs_no_provider(double: Any) -> None:
    with sky.ComputePool(display="quiet") as pool:
        assert double(1) >> pool == 2
