"""How many calls go into a batch, and how many threads a slot has: decisions without any pool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward_sklearn import _threads
from skyward_sklearn._batches import Pace
from skyward_sklearn._threads import VARIABLES, Limits, settings

seconds = st.floats(1e-9, 1e4)
pauses = st.none() | st.floats(0, 10)


def run(pace: Pace, call: float, pause: float, batches: int) -> Pace:
    """A run of calls that take equally long."""
    for _ in range(batches):
        pace = pace.next()
        pace = pace.after(pace.size, pace.size * call, pause)
    return pace.next()


def test_nothing_is_known_before_the_first_batch() -> None:
    assert Pace().next() == Pace()
    assert Pace().next().size == 1


@given(st.lists(st.tuples(seconds, pauses), max_size=30))
def test_a_batch_has_one_call_at_least_and_four_times_the_last_ones_at_most(
    taken: list[tuple[float, float | None]],
) -> None:
    pace = Pace()
    for each, pause in taken:
        before, pace = pace.size, pace.next()
        assert 1 <= pace.size <= 4 * before
        pace = pace.after(pace.size, each, pause)


@given(st.floats(1e-6, 100), st.floats(0, 0.2))
def test_batches_of_equal_calls_take_about_as_long_as_they_shall(call: float, pause: float) -> None:
    pace = run(Pace(), call, pause, 40)
    assert pace.size == 1 or 0.25 * pace.ideal <= pace.size * call <= 2.01 * pace.ideal
    assert pace.size * call >= min(call, 0.04)
    assert run(pace, call, pause, 5).size == pace.size  # it stays there


@given(st.floats(0, 0.005), st.floats(0.02, 10))
def test_a_slow_road_has_larger_batches(near: float, far: float) -> None:
    assert run(Pace(), 0.001, far, 40).size > run(Pace(), 0.001, near, 40).size


@given(st.floats(0.001, 0.1))
def test_calls_whose_way_takes_long_are_not_heaped(way: float) -> None:
    """Large arguments: each call adds to the pause before its batch."""
    pace = Pace()
    for _ in range(40):
        pace = pace.next()
        pace = pace.after(pace.size, pace.size * 1e-6, 0.0005 + pace.size * way)
    assert pace.size * way <= 2.5


def test_calls_that_turn_out_longer_make_batches_smaller() -> None:
    pace = run(Pace(), 1e-4, 0.001, 20)
    assert pace.size > 300
    assert run(pace, 1.0, 0.001, 20).size == 1


@given(st.integers(1, 64), st.none() | st.integers(1, 8))
def test_threads_are_what_was_asked_for_then_the_pools_then_the_clients_then_the_share(
    share: int, inner: int | None
) -> None:
    own, client = {"OMP_NUM_THREADS": "70"}, {"OMP_NUM_THREADS": "80", "MKL_NUM_THREADS": "81"}
    found = settings(Limits(inner, tuple(client.items())), own, share)
    if inner is not None:
        assert {found[name] for name in VARIABLES} == {str(inner)}
    else:
        assert found["OMP_NUM_THREADS"] == "70"
        assert found["MKL_NUM_THREADS"] == "81"
        assert found["OPENBLAS_NUM_THREADS"] == str(share)
    assert found["LOKY_MAX_CPU_COUNT"] == str(share)


@pytest.mark.parametrize(
    ("told", "cores"),
    [(("250000 100000",), 3), (("250000", "100000"), 3), (("max 100000",), 64), (("-1", "100000"), 64), ((), 64)],
    ids=["new", "old", "no limit", "no limit, old", "no such file"],
)
def test_a_container_has_the_cores_that_its_share_of_their_time_comes_to(
    told: tuple[str, ...], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("quota", "period")][: max(1, len(told))]
    for path, text in zip(paths, told, strict=False):
        path.write_text(f"{text}\n")
    monkeypatch.setattr(_threads, "_QUOTAS", (tuple(map(str, paths)),))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(64), raising=False)
    assert _threads._cores() == cores
