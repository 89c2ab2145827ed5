"""A pool in the place of loky, joblib's default backend: a plugin for pytest, with which joblib's own tests are run.

``SKYWARD_JOBLIB_RESULT`` names the file that is told how it went. Only the tests that use loky are run, by name or as
the default; those that joblib has for its other backends too are run once, for loky.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import joblib
import joblib._parallel_backends
import joblib.parallel
import pytest

import skyward as sky
from skyward_sklearn._backend import SkywardBackend

sys.path.insert(0, str(Path(__file__).parent))
from joblib_skips import OTHERWISE, SKIPS  # type: ignore[import-not-found, unused-ignore]

OTHERS = {"multiprocessing", "threading", "sequential", "spawn", "back_compat_backend", "dask"}
POOL = sky.ComputePool(nodes=2, concurrency=2, timeout=None, display="quiet")
IN_A_PROGRAM = """
import runpy, sys
sys.path.insert(0, {folder!r})
import joblib_place
with joblib_place.in_place():
    runpy.run_path({script!r}, run_name="__main__") if {script!r} else exec({code!r}, {{"__name__": "__main__"}})
"""


class LokyBackend(SkywardBackend):
    """What joblib makes with the arguments that it makes loky's with."""

    default_n_jobs = 1

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(POOL, *args, **options)

    def _renew(self) -> None:
        super()._renew()
        assert self._sender is not None
        vars(self._sender)["_terms"] = _admitted(self._sender._terms)

    @property
    def _workers(self) -> object:
        """What some tests look at, to see that the workers are others after an error."""
        return self._sender


def _admitted(terms: Any) -> Any:
    """The terms of a batch; unpickled, they admit its slot to the processes of this program's managers."""

    def opened(key: bytes, function: Any, args: Any) -> Any:
        multiprocessing.current_process().authkey = key
        return function(*args)

    class Admitted:
        def __reduce__(self) -> Any:
            return opened, (bytes(multiprocessing.current_process().authkey), *terms.__reduce__())

    return Admitted()


class in_place:  # noqa: N801
    """The block in which loky is a pool."""

    def __enter__(self) -> None:
        POOL.__enter__()
        for module in (joblib._parallel_backends, joblib.parallel):
            module.LokyBackend = LokyBackend
        joblib.parallel.BACKENDS["loky"] = LokyBackend

    def __exit__(self, *error: object) -> None:
        POOL.__exit__(None, None, None)


def run_in_a_program(command: list[str], timeout: float | None = None, **expected: Any) -> None:
    """What joblib runs a script with, in a process that has a pool in the place of loky, too."""
    from joblib.testing import check_subprocess_call

    script, code = ("", command[2]) if command[1] == "-c" else (command[1], "")
    if expected.get("stderr_regex") == "LokyProcess":  # what loky's own processes log when they start
        del expected["stderr_regex"]
    program = IN_A_PROGRAM.format(folder=str(Path(__file__).parent), script=script, code=code)
    check_subprocess_call([command[0], "-c", program], timeout=None, **expected)


class Suite:
    """Chooses the tests, and counts."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.unknown: list[str] = []
        self.tasks = 0

    def count(self, _event: object) -> None:
        self.tasks += 1

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = [item for item in items if _is_about_loky(item)]
        skips = {name: reason for skip in SKIPS for name, reason in skip.here(joblib.__version__)}
        known = {name for item in wanted for name in _names(item)}
        self.unknown = sorted(({*skips} | {*OTHERWISE}) - known)
        for item in wanted:
            for name in _names(item):
                if name in skips:
                    item.add_marker(pytest.mark.skip(reason=skips[name]))
                if name in OTHERWISE and isinstance(item, pytest.Function):
                    item.callspec.params.update(OTHERWISE[name])
        for module in {item.module for item in wanted if isinstance(item, pytest.Function)}:
            if hasattr(module, "check_subprocess_call"):
                module.check_subprocess_call = run_in_a_program
        items[:] = wanted

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[name] = report.outcome

    def pytest_sessionfinish(self) -> None:
        told = {"outcomes": self.outcomes, "unknown": self.unknown, "tasks": self.tasks}
        Path(os.environ["SKYWARD_JOBLIB_RESULT"]).write_text(json.dumps(told))


def _is_about_loky(item: pytest.Item) -> bool:
    """Whether a test uses loky, or does not say what it uses; once, where it has several ways to say so."""
    values = list(getattr(getattr(item, "callspec", None), "params", {}).values())
    named = [value for value in values if isinstance(value, str)]
    objects = [value for value in values if isinstance(value, joblib.parallel.ParallelBackendBase)]
    contexts = [value for value in values if hasattr(value, "Pool")]
    if contexts or any(not isinstance(value, LokyBackend) for value in objects):
        return False
    return not OTHERS & set(named) or ("loky" in named and "multiprocessing" not in named)


def _names(item: pytest.Item) -> tuple[str, str]:
    """The test, and this set of its parameters."""
    return item.name.partition("[")[0], item.name


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("thread_unsafe", "no_cover"):
        config.addinivalue_line("markers", f"{marker}: of joblib's own tests")
    suite = Suite()
    config.pluginmanager.register(suite)
    POOL.on(sky.TaskStarted, suite.count)
    block = in_place()
    block.__enter__()
    config.add_cleanup(lambda: block.__exit__())
