"""``JoblibPool``, ``ScikitLearnPool`` and the integrations, on real slots."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import joblib as real_joblib
import numpy as np
import pytest
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

import skyward as sky
from skyward_sklearn import JoblibPool, ScikitLearnPool, joblib, joblib_backend, plugin, sklearn, sklearn_backend


def place(_number: int = 0) -> int:
    return os.getpid()


@sky.compute
def imported() -> set[str]:
    import sys

    return set(sys.modules)


@pytest.fixture(scope="module")
def plain() -> Iterator[sky.ComputePool]:
    """A pool that was made without any thought of joblib."""
    with sky.ComputePool(concurrency=2, display="quiet", collect_metrics=False) as pool:
        yield pool


class Located(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Scores with the process that fitted it."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def fit(self, X: Any, y: Any) -> Located:  # noqa: N803 -- as scikit-learn calls it
        self.place_ = os.getpid()
        self.classes_ = np.unique(y)
        return self

    def score(self, X: Any, y: Any) -> float:  # noqa: N803 -- as above
        return float(self.place_)


def test_a_joblib_pool_is_a_pool_and_joblibs_backend_in_its_block() -> None:
    with JoblibPool(nodes=2, display="quiet", collect_metrics=False) as pool:
        assert isinstance(pool, sky.ComputePool)
        assert effective_n_jobs(-1) == 2
        places = Parallel(n_jobs=-1)(delayed(place)(number) for number in range(8))
        assert os.getpid() not in places
        assert sky.compute(place)() >> pool in sky.compute(place)() @ pool
        assert repr(pool) == "<JoblibPool of 2 node(s) on Local, active>"
    assert Parallel(n_jobs=2, prefer="threads")(delayed(place)() for _ in range(2)) == [os.getpid()] * 2
    assert "skyward" not in real_joblib.parallel.BACKENDS


def test_a_scikit_learn_pool_fits_in_its_slots_and_its_slots_have_what_the_client_imported() -> None:
    x, y = np.arange(12.0).reshape(-1, 1), np.arange(12) % 2
    with ScikitLearnPool(concurrency=2, display="quiet", collect_metrics=False) as pool:
        loaded = imported() >> pool
        assert {"joblib", "numpy", "scipy", "sklearn", "sklearn.linear_model", "sklearn.model_selection"} <= loaded
        search = GridSearchCV(Located(), {"number": [1, 2, 3]}, cv=2, refit=False, n_jobs=-1).fit(x, y)
        scores = {score for name, each in search.cv_results_.items() if "split" in name for score in each}
        assert os.getpid() not in scores
        assert cross_val_score(LogisticRegression(), x, y, cv=2, n_jobs=-1).shape == (2,)


@pytest.mark.parametrize("integration", [joblib, sklearn()], ids=["joblib", "sklearn()"])
def test_an_integration_makes_any_pool_the_backend_with_or_without_parentheses(integration: Any) -> None:
    with sky.ComputePool(plugins=[integration], display="quiet", collect_metrics=False):
        assert os.getpid() not in Parallel(n_jobs=-1)(delayed(place)() for _ in range(3))
    assert "skyward" not in real_joblib.parallel.BACKENDS


@pytest.mark.parametrize("backend", [joblib_backend, sklearn_backend])
def test_a_pool_that_is_open_already_can_be_the_backend_for_a_while(plain: sky.ComputePool, backend: Any) -> None:
    with backend(plain) as given:
        assert given is plain
        assert os.getpid() not in Parallel(n_jobs=-1)(delayed(place)() for _ in range(3))
    assert plain.is_active
    assert "skyward" not in real_joblib.parallel.BACKENDS


async def in_a_pool_of_a_task() -> int:
    import asyncio

    async with JoblibPool(display="quiet", collect_metrics=False):

        def work() -> list[int]:
            found: list[int] = Parallel(backend="skyward")(delayed(place)() for _ in range(2))
            return found

        return (await asyncio.to_thread(work))[0]


def test_it_serves_async_with_and_other_threads() -> None:
    import asyncio

    assert asyncio.run(in_a_pool_of_a_task()) != os.getpid()


def test_a_node_with_other_versions_refuses_the_first_batch(
    plain: sky.ComputePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_joblib, "__version__", "0.1")
    with joblib_backend(plain), pytest.raises(sky.ConfigurationError, match=r"where the client has 0\.1") as refused:
        Parallel(n_jobs=-1)(delayed(place)() for _ in range(3))
    assert "plugins=[sky.integrations.joblib()]" in str(refused.value)


def test_the_parameters_are_those_of_a_pool_and_checked_as_there() -> None:
    with pytest.raises(sky.ConfigurationError, match=r"no parameter 'nods': did you mean 'nodes'"):
        JoblibPool(nods=2)  # type: ignore[call-arg]
    with pytest.raises(sky.ConfigurationError, match=r"no parameter 'sklern_version': did you mean 'sklearn_version'"):
        ScikitLearnPool(sklern_version="1.6")  # type: ignore[call-arg]
    with pytest.raises(sky.ConfigurationError, match="plugins has 'torch'"):
        ScikitLearnPool(plugins=["torch"])  # type: ignore[list-item]
    alone: Any = sklearn  # not in a list, as a pool takes it too
    pool = JoblibPool(sky.Local(), nodes=3, concurrency=2, plugins=alone)
    assert (pool.nodes, pool.concurrency) == (3, 2)


def test_sky_integrations_has_the_names_of_the_package() -> None:
    found = {each.name: each.factory for each in plugin.skyward_integrations()}
    assert found == {
        "JoblibPool": JoblibPool,
        "ScikitLearnPool": ScikitLearnPool,
        "joblib": joblib,
        "joblib_backend": joblib_backend,
        "sklearn": sklearn,
        "sklearn_backend": sklearn_backend,
    }


def test_names_are_found_by_the_entry_point_without_importing_what_they_work_on() -> None:
    code = """
import sys
import skyward as sky
assert sky.integrations.JoblibPool.__module__ == "skyward_sklearn._pools"
assert {"joblib", "joblib_backend", "sklearn", "sklearn_backend"} <= set(dir(sky.integrations))
heavy = {"joblib", "numpy", "scipy", "sklearn", "threadpoolctl"} & set(sys.modules)
assert not heavy, heavy
"""
    environ = {name: value for name, value in os.environ.items() if name != "SKYWARD_DISABLE_PLUGINS"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_runs_in_a_slot_imports_no_pool() -> None:
    code = "import sys, skyward_sklearn._remote; assert 'skyward_sklearn._pools' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_as_a_decorator_an_integration_leaves_the_function_as_it_is() -> None:
    function = sky.compute(place)
    assert joblib(function) is function
    assert joblib()(place).local is place
    assert inspect.signature(sklearn(place).local) == inspect.signature(place)


def test_pools_of_two_threads_do_not_take_each_others_work(plain: sky.ComputePool) -> None:
    found: dict[str, set[int]] = {}
    both = threading.Barrier(2)

    def use(name: str, pool: sky.ComputePool) -> None:
        with joblib_backend(pool):
            both.wait()
            found[name] = set(Parallel(n_jobs=-1)(delayed(place)() for _ in range(6)))
            both.wait()

    with sky.ComputePool(display="quiet", collect_metrics=False) as other:
        own = {sky.compute(place)() >> other}
        threads = [threading.Thread(target=use, args=pair) for pair in (("plain", plain), ("other", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found["other"] == own
    assert not found["plain"] & own
