"""Machines and processes that are lost while a ``Parallel``, or a search, runs on them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib import Parallel, delayed

import skyward as sky
from skyward_sklearn import joblib_backend
from skyward_sklearn._backend import SkywardBackend


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, display="quiet", collect_metrics=False) as entered, joblib_backend(entered):
        yield entered


@pytest.fixture
def loser(tmp_path: Path) -> Iterator[None]:
    """Once calls have marked on two machines that they run, ends one of these; once there is a third mark, says go."""
    over = threading.Event()

    def lose() -> None:
        for count in (2, 3):
            while len(list(tmp_path.iterdir())) < count:
                if over.wait(0.005):
                    return
            if count == 2:
                os.kill(int(next(tmp_path.iterdir()).suffix[1:]), signal.SIGKILL)
        (tmp_path / "go").touch()

    thread = threading.Thread(target=lose)
    thread.start()
    yield
    over.set()
    thread.join()


def marked(folder: str) -> None:
    """Marks who runs it, and on which machine; returns once it may go."""
    open(f"{folder}/{os.getpid()}.{os.getppid()}", "w").close()
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.005)


def test_a_machine_that_is_lost_says_what_nobody_knows_and_how_to_have_it_run_again(
    pool: sky.ComputePool, loser: None, tmp_path: Path
) -> None:
    with pytest.raises(sky.OutcomeUnknown, match="was lost while it held marked") as lost:
        Parallel()([delayed(marked)(str(tmp_path))] * 4)
    assert 'joblib.parallel_config("skyward", retry=1)' in "".join(lost.value.__notes__)
    assert Parallel()(delayed(abs)(-n) for n in range(5)) == list(range(5))


@pytest.mark.slow  # to import scikit-learn in three slots
def test_a_search_goes_on_where_a_machine_is_lost_whose_fits_may_run_again(
    pool: sky.ComputePool, loser: None, tmp_path: Path
) -> None:
    from sklearn.dummy import DummyRegressor
    from sklearn.model_selection import GridSearchCV

    class Patient(DummyRegressor):  # type: ignore[misc]  # scikit-learn has no types
        def fit(self, X: Any, y: Any) -> Any:  # noqa: N803 -- as scikit-learn calls it
            marked(str(tmp_path))
            return super().fit(X, y)

        def score(self, X: Any, y: Any) -> float:  # noqa: N803 -- as above
            return float(self.constant)

    search = GridSearchCV(Patient(strategy="constant"), {"constant": [1, 2, 3]}, cv=2, refit=False, n_jobs=-1)
    with joblib.parallel_config("skyward", retry=1):
        search.fit([[0]] * 12, [0, 1] * 6)
    assert list(search.cv_results_["mean_test_score"]) == [1, 2, 3]


def test_how_often_a_call_may_run_is_said_by_itself_then_by_its_parallel(pool: sky.ComputePool, tmp_path: Path) -> None:
    def die_once(path: str) -> str:
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(3)
        return path

    @sky.compute
    def once(path: str) -> str:
        return die_once(path)

    path = str(tmp_path / "plain")
    assert Parallel(n_jobs=2, backend=SkywardBackend(pool, retry=1))([delayed(die_once)(path)]) == [path]
    with pytest.raises(sky.SlotDied, match="the process that ran once") as died:
        Parallel(n_jobs=2, backend=SkywardBackend(pool, retry=1))([delayed(once)(str(tmp_path / "once"))])
    assert "retry=1" in "".join(died.value.__notes__)
    with pytest.raises(ValueError, match="retry is -1: give how many more times"):
        SkywardBackend(pool, retry=-1)
    with pytest.raises(ValueError, match="retry is 'often'"):
        joblib.parallel_config("skyward", retry="often")
