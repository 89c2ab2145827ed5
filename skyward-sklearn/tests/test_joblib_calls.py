"""How ``Parallel`` takes calls from their iterator, packs them and tells how far it is, on a pool."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib import Memory, Parallel, delayed

import skyward as sky
from skyward_sklearn import JoblibPool, joblib_backend
from skyward_sklearn._backend import SkywardBackend
from skyward_sklearn._batches import Pace


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, display="quiet", collect_metrics=False) as entered, joblib_backend(entered):
        yield entered


@pytest.fixture
def sizes(pool: sky.ComputePool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The calls in each batch, in the order in which joblib hears of their results."""
    seen: list[int] = []
    after = Pace.after

    def noted(pace: Pace, calls: int, seconds: float, pause: float | None) -> Pace:
        seen.append(calls)
        return after(pace, calls, seconds, pause)

    monkeypatch.setattr(Pace, "after", noted)
    return seen


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.005)
    return path


@pytest.mark.parametrize(("n_jobs", "slots"), [(-1, 6), (None, 6), (-2, 5), (4, 4), (100, 6)])
def test_jobs_are_nodes_times_concurrency(n_jobs: int | None, slots: int) -> None:
    assert SkywardBackend(sky.ComputePool(nodes=2, concurrency=3)).effective_n_jobs(n_jobs) == slots


def test_no_jobs_at_all_are_refused(pool: sky.ComputePool) -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)([delayed(abs)(1)])


def test_no_more_calls_are_taken_than_are_to_be_dispatched_ahead(pool: sky.ComputePool, tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(8)]
    taken: list[str] = []

    def calls() -> Iterator[Any]:
        for path in paths:
            taken.append(path)
            yield delayed(wait_for)(path)

    results = Parallel(pre_dispatch=3, batch_size=1, return_as="generator")(calls())
    assert taken == paths[:3]
    for number, path in enumerate(paths):
        assert len(taken) <= number + 4  # joblib takes one for each of the two slots when it takes any
        open(path, "w").close()
        assert next(results) == path
    assert taken == paths


def test_a_size_that_is_given_is_that_of_every_batch(pool: sky.ComputePool, sizes: list[int]) -> None:
    assert Parallel(batch_size=7, pre_dispatch="all")(delayed(abs)(-n) for n in range(28)) == list(range(28))
    assert sizes == [7] * 4


def test_short_calls_are_packed_and_each_parallel_begins_anew(
    pool: sky.ComputePool, sizes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    parallel = Parallel(verbose=10)
    for _ in range(2):
        assert parallel(delayed(abs)(-n) for n in range(2000)) == list(range(2000))
        assert sizes[0] == 1
        assert max(sizes) >= 16
        sizes.clear()
    told = capsys.readouterr().err
    assert "Using backend SkywardBackend with 2 concurrent workers" in told
    assert " from now on." in told
    assert "Done 2000 out of 2000" in told


def test_callbacks_hear_of_every_call_that_has_ended(pool: sky.ComputePool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(Parallel):  # type: ignore[misc]  # joblib has no types
        def print_progress(self) -> None:
            shown.append(self.n_completed_tasks)

    class Ended(joblib.parallel.BatchCompletionCallBack):  # type: ignore[misc]  # as progress bars for joblib do it
        def __call__(self, *args: Any, **options: Any) -> Any:
            ended.append(self.batch_size)
            return super().__call__(*args, **options)

    shown: list[int] = []
    ended: list[int] = []
    monkeypatch.setattr(joblib.parallel, "BatchCompletionCallBack", Ended)
    Counted(batch_size=2)(delayed(abs)(-n) for n in range(9))
    assert sum(ended) == 9
    assert shown == sorted(shown)
    assert shown[-1] == 9


def test_a_memory_keeps_what_slots_have_computed(pool: sky.ComputePool, tmp_path: Path) -> None:
    def noted(number: int, folder: str) -> int:
        open(f"{folder}/{number}", "x").close()  # fails when it is computed twice
        return number + 1

    (tmp_path / "marks").mkdir()
    cached = Memory(tmp_path / "memory", verbose=0).cache(noted, ignore=["folder"])
    for _ in range(2):
        assert Parallel()(delayed(cached)(n, str(tmp_path / "marks")) for n in range(10)) == list(range(1, 11))
    assert cached(3, "") == 4


def test_threads_are_limited_in_a_slot_before_anything_else_is_loaded_there() -> None:
    @sky.compute
    def limits() -> tuple[str | None, list[str]]:
        import sys

        return os.environ.get("OMP_NUM_THREADS"), [name for name in sys.modules if name in found]

    found = {"numpy", "skyward_sklearn._threads"}
    with JoblibPool(nodes=2, display="quiet", collect_metrics=False) as pool:
        threads, order = limits() >> pool
    assert threads == str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert order == ["skyward_sklearn._threads", "numpy"]
