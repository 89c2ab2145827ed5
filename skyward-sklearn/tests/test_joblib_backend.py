"""joblib's ``Parallel`` on a pool: where its calls run, how their results come back, and how they are stopped."""

from __future__ import annotations

import os
import pickle
import threading
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import TimeoutError as JoblibTimeout
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed

import skyward as sky
from skyward_sklearn._backend import SkywardBackend
from skyward_sklearn._registration import joblib_backend


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, display="quiet") as entered:
        yield entered


@pytest.fixture
def backend(pool: sky.ComputePool) -> Iterator[None]:
    with joblib_backend(pool):
        yield


@pytest.fixture
def tasks() -> Any:
    """Functions that travel by value, so that nodes need not have this module."""

    def wait_for(path: str) -> str:
        while not os.path.exists(path):
            time.sleep(0.005)
        return path

    def linger(begun: str, stopped: str) -> None:
        open(begun, "w").close()
        try:
            while True:
                time.sleep(0.005)
        finally:
            open(stopped, "w").close()

    def meet(mine: str, other: str) -> int:
        open(mine, "w").close()
        while not os.path.exists(other):
            time.sleep(0.005)
        return os.getpid()

    def fail_after(path: str) -> None:
        wait_for(path)
        raise LookupError("of its own")

    def active() -> str:
        return type(joblib.parallel.get_active_backend()[0]).__name__

    def nested() -> Any:
        level = Parallel(n_jobs=-1)
        inner = level(delayed(os.getpid)() for _ in range(4))
        named = Parallel(n_jobs=2, backend="skyward")(delayed(os.getpid)() for _ in range(2))
        below = Parallel(n_jobs=2)(
            delayed(lambda: type(joblib.parallel.get_active_backend()[0]).__name__)() for _ in "ab"
        )
        alone = os.getpid(), type(level._backend).__name__, joblib.effective_n_jobs(-1)
        return set(inner) | set(named) == {os.getpid()}, alone[1:], set(below)

    return types.SimpleNamespace(
        wait_for=wait_for, linger=linger, meet=meet, fail_after=fail_after, nested=nested, pid=os.getpid
    )


def wait_until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def slots(pool: sky.ComputePool, tasks: Any, folder: Path) -> set[int]:
    """The processes of both slots, which each must run one of two calls to go on."""
    one, other = str(folder / "one"), str(folder / "other")
    return set(Parallel()([delayed(tasks.meet)(one, other), delayed(tasks.meet)(other, one)]))


def test_minus_one_and_no_number_stand_for_every_slot(
    pool: sky.ComputePool, backend: None, tasks: Any, tmp_path: Path
) -> None:
    pids = slots(pool, tasks, tmp_path)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert joblib.effective_n_jobs(-1) == joblib.effective_n_jobs(None) == 2
    assert set(Parallel(n_jobs=-1)(delayed(tasks.pid)() for _ in range(20))) <= pids


def test_one_job_runs_here_and_what_is_less_than_two_slots_does_not(backend: None, tasks: Any) -> None:
    assert Parallel(n_jobs=1)([delayed(tasks.pid)()]) == [os.getpid()]
    assert os.getpid() not in Parallel(n_jobs=-2)(delayed(tasks.pid)() for _ in range(5))


def test_fewer_jobs_than_slots_run_so_many_at_a_time(backend: None, tmp_path: Path) -> None:
    def alone(folder: str) -> int:
        os.mkdir(f"{folder}/here")  # fails if another one is at it
        time.sleep(0.01)
        os.rmdir(f"{folder}/here")
        return 1

    assert sum(Parallel(n_jobs=-2)(delayed(alone)(str(tmp_path)) for _ in range(20))) == 20


def test_a_pool_of_a_single_slot_runs_what_asks_for_all_of_it(tasks: Any) -> None:
    with sky.ComputePool(display="quiet") as single, joblib_backend(single):
        assert os.getpid() not in Parallel(n_jobs=-1)(delayed(tasks.pid)() for _ in range(5))


def test_outside_of_the_block_and_of_its_thread_joblib_is_as_it_was(pool: sky.ComputePool, tasks: Any) -> None:
    def elsewhere() -> None:
        seen.append(type(joblib.parallel.get_active_backend()[0]))
        seen.append(set(Parallel(backend="skyward")(delayed(tasks.pid)() for _ in range(5))))

    seen: list[Any] = []
    with joblib_backend(pool) as given:
        assert given is pool
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with joblib_backend(pool):
            pass
        Parallel(backend="skyward")  # still there
    assert seen[0] is not SkywardBackend
    assert os.getpid() not in seen[1]
    with pytest.raises(ValueError, match="skyward"):
        Parallel(backend="skyward")
    assert not isinstance(joblib.parallel.get_active_backend()[0], SkywardBackend)


def test_a_pool_that_is_not_entered_is_refused() -> None:
    nothing: Any = None
    with pytest.raises(sky.UsageError, match="None is no pool"), joblib_backend(nothing):
        pass
    with pytest.raises(sky.UsageError, match="enter its block first"), joblib_backend(sky.ComputePool()):
        pass


def test_generators_give_results_in_order_or_as_they_come(backend: None, tasks: Any, tmp_path: Path) -> None:
    slow, others = str(tmp_path / "slow"), [str(tmp_path / name) for name in "abcd"]
    for path in others:
        open(path, "w").close()
    calls = [delayed(tasks.wait_for)(path) for path in [slow, *others]]
    unordered = Parallel(return_as="generator_unordered", batch_size=1)(calls)
    assert sorted(next(unordered) for _ in others) == others
    open(slow, "w").close()
    assert list(unordered) == [slow]
    assert list(Parallel(return_as="generator", batch_size=1)(calls)) == [slow, *others]


def test_a_generator_that_is_dropped_stops_what_runs(backend: None, tasks: Any, tmp_path: Path) -> None:
    begun, stopped = tmp_path / "begun", tmp_path / "stopped"
    results = Parallel(return_as="generator")([delayed(tasks.linger)(str(begun), str(stopped))] * 2)
    wait_until(begun.exists)
    with pytest.warns(UserWarning, match="cancelled"):
        del results
    assert stopped.exists()
    assert Parallel()(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]


def test_the_first_error_is_raised_as_itself_and_stops_the_others(backend: None, tasks: Any, tmp_path: Path) -> None:
    begun, stopped = tmp_path / "begun", tmp_path / "stopped"
    with pytest.raises(LookupError, match="of its own") as caught:
        Parallel()([delayed(tasks.linger)(str(begun), str(stopped)), delayed(tasks.fail_after)(str(begun))])
    assert stopped.exists()
    notes = "".join(caught.value.__notes__)
    assert "on the node" in notes
    assert 'raise LookupError("of its own")' in notes
    with Parallel() as managed:
        with pytest.raises(ZeroDivisionError):
            managed(delayed(divmod)(1, n) for n in (1, 0))
        assert managed(delayed(divmod)(n, 1) for n in (1, 2)) == [(1, 0), (2, 0)]


def test_a_timeout_stops_what_took_too_long(backend: None, tasks: Any, tmp_path: Path) -> None:
    begun, stopped = tmp_path / "begun", tmp_path / "stopped"
    with pytest.raises((JoblibTimeout, TimeoutError)):
        Parallel(timeout=0.5)([delayed(tasks.linger)(str(begun), str(stopped))] * 2)
    assert stopped.exists() or not begun.exists()
    assert Parallel(timeout=120)(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]


def test_several_run_at_once_in_threads(backend: None) -> None:
    def run(start: int) -> None:
        results[start] = Parallel(backend="skyward")(delayed(divmod)(n, 7) for n in range(start, start + 200))

    results: dict[int, Any] = {}
    threads = [threading.Thread(target=run, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {start: [divmod(n, 7) for n in range(start, start + 200)] for start in (0, 1000, 2000)}


def test_the_calls_of_one_may_wait_for_the_results_of_another(backend: None, tasks: Any, tmp_path: Path) -> None:
    paths = [str(tmp_path / str(n)) for n in range(12)]
    results = Parallel(n_jobs=-2, return_as="generator", batch_size=1)(delayed(tasks.wait_for)(path) for path in paths)

    def one_after_another() -> Iterator[Any]:
        for path in paths:
            open(path, "w").close()  # so that its result comes while the next call is being waited for
            yield delayed(str.upper)(next(results))

    assert Parallel(batch_size=1)(one_after_another()) == [path.upper() for path in paths]


def test_what_a_call_nests_stays_in_its_slot_and_in_its_share_of_the_cores(
    pool: sky.ComputePool, backend: None, tasks: Any
) -> None:
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    inside, outer, below = zip(*Parallel()(delayed(tasks.nested)() for _ in range(2)), strict=True)
    assert all(inside)
    assert outer == (("ThreadingBackend" if share > 1 else "SequentialBackend", share),) * 2
    assert below == ({"SequentialBackend"},) * 2


def test_native_libraries_have_the_slots_share_of_threads_or_what_is_asked_for(backend: None) -> None:
    def threads(_: int) -> tuple[str, set[int]]:
        import numpy as np
        from threadpoolctl import threadpool_info

        np.ones((2, 2)) @ np.ones((2, 2))
        return os.environ["OMP_NUM_THREADS"], {each["num_threads"] for each in threadpool_info()}

    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert Parallel()([delayed(threads)(0)] * 2) == [(str(share), {share})] * 2
    with joblib.parallel_config("skyward", inner_max_num_threads=3):
        assert Parallel()([delayed(threads)(0)] * 2) == [("3", {3})] * 2
    assert Parallel()([delayed(threads)(0)] * 2) == [(str(share), {share})] * 2


def test_an_initializer_is_called_once_in_each_slot(backend: None, tmp_path: Path) -> None:
    def begin(folder: str) -> None:
        open(f"{folder}/{os.getpid()}", "x").close()

    for _ in range(2):
        pids = Parallel(initializer=begin, initargs=(str(tmp_path),))(delayed(os.getpid)() for _ in range(20))
        assert {str(pid) for pid in pids} <= set(os.listdir(tmp_path))


def test_options_that_cannot_work_are_refused_with_the_remedy(backend: None) -> None:
    with pytest.raises(TypeError, match="no option idle_worker_timeout: leave it out"):
        Parallel(idle_worker_timeout=3)([delayed(abs)(1)])
    with pytest.raises(ValueError, match="return what they write"):
        Parallel(mmap_mode="r+")([delayed(abs)(1)])
    with pytest.raises(ValueError, match="mmap_mode is 'rw': give 'r'"):
        Parallel(mmap_mode="rw")([delayed(abs)(1)])
    with pytest.raises(TypeError, match="initializer is 'begin', which cannot be called: give a function"):
        Parallel(initializer="begin")([delayed(abs)(1)])
    for wrong in (0, "two"):
        refused = pytest.raises(ValueError, match=f"inner_max_num_threads is {wrong!r}: give a number of threads")
        with joblib.parallel_config("skyward", inner_max_num_threads=wrong), refused:
            Parallel()([delayed(abs)(1)])


def test_large_arrays_cross_once_for_each_slot_and_are_read_only(backend: None) -> None:
    from skyward.spi import Sharing

    def look(array: np.ndarray[Any, Any], row: int) -> tuple[bool, float]:
        return array.flags.writeable, float(array[row].sum())

    array = np.random.default_rng(0).random((500, 1000))
    before = Sharing.total
    told = Parallel(batch_size=1)(delayed(look)(array, row) for row in range(40))
    assert told == [(False, float(array[row].sum())) for row in range(40)]
    assert 0 < Sharing.total - before <= 1.1 * 2 * array.nbytes
    array[0] += 1  # between two calls
    with Parallel() as managed:
        assert managed([delayed(look)(array, 0)]) == [(False, float(array[0].sum()))]
        array[0] += 1
        assert managed([delayed(look)(array, 0)]) == [(False, float(array[0].sum()))]
    assert Parallel(max_nbytes=None)([delayed(look)(array, 0)])[0][0]
    before = Sharing.total
    told = Parallel(mmap_mode="c", batch_size=1)(delayed(look)(array, row) for row in range(20))
    assert told == [(True, float(array[row].sum())) for row in range(20)]
    assert Sharing.total - before <= 3.1 * array.nbytes  # with the first call, and then once for each slot


def test_what_cannot_be_pickled_is_named_from_where_the_user_stands(backend: None) -> None:
    def nothing(*_: object, **__: object) -> None:
        return None

    for call, path in (
        (delayed(nothing)(1, {"a": threading.Lock()}), "argument 2['a']"),
        (delayed(nothing)(x=[threading.Lock()]), "argument 'x'[0]"),
    ):
        with pytest.raises(pickle.PicklingError, match="the task to send to the pool") as caught:
            Parallel()([call])
        assert isinstance(caught.value, sky.SerializationError)
        assert caught.value.path == path
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.path) == (str(caught.value), path)
    with pytest.raises(sky.SerializationError, match=r"result of (allocate_)?lock cannot be pickled: result: "):
        Parallel()([delayed(threading.Lock)()])


def test_a_slot_that_dies_says_so_and_only_compute_functions_run_again(backend: None, tmp_path: Path) -> None:
    def die_once(path: str) -> str:
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(3)
        return path

    with pytest.raises(sky.SlotDied, match="the process that ran die_once"):
        Parallel()([delayed(die_once)(str(tmp_path / "plain"))])
    again = sky.compute(retry=1)(die_once)
    path = str(tmp_path / "again")
    assert Parallel()([delayed(again)(path)]) == [path]


def test_a_pool_that_ends_under_a_parallel_makes_it_fail(tasks: Any, tmp_path: Path) -> None:
    with sky.ComputePool(nodes=2, display="quiet") as pool:
        backend = SkywardBackend(pool)
        results = Parallel(backend=backend, return_as="generator")(
            [delayed(tasks.wait_for)(str(tmp_path / "never"))] * 4
        )
        managed = Parallel(backend=SkywardBackend(pool)).__enter__()
    with pytest.raises(sky.UsageError):
        next(results)
    with pytest.raises(sky.UsageError) as late:
        managed([delayed(abs)(1)])
    (note,) = late.value.__notes__
    assert note.startswith("Traceback here")
    managed.__exit__(None, None, None)


def test_a_copy_of_the_process_runs_its_calls_itself(backend: None) -> None:
    pid = os.fork()
    if not pid:
        same = Parallel()(delayed(os.getpid)() for _ in range(3)) == [os.getpid()] * 3
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_events_name_the_users_functions(pool: sky.ComputePool, backend: None) -> None:
    def a_name_of_its_own(number: int) -> int:
        return number

    names: list[str] = []
    done = pool.on(sky.TaskCompleted, lambda event: names.append(event.name))
    Parallel()(delayed(a_name_of_its_own)(n) for n in range(3))
    done()
    assert set(names) == {"a_name_of_its_own"}
