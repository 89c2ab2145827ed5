"""A pool under scikit-learn's own tests: a plugin for pytest.

All runs in the block of a ``ScikitLearnPool``, whose configuration goes before what the tests leave open: where an
estimator has no ``n_jobs``, the pool's slots do the work. ``SKYWARD_SKLEARN_RESULT`` names the file that is told how
many tests of each module have passed, how many tasks they have sent, and which names of the tables no test has.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import sklearn

import skyward as sky
from skyward_sklearn import ScikitLearnPool

sys.path.insert(0, str(Path(__file__).parent))
from sklearn_skips import LONG, OTHERS, SKIPS, WRITTEN_FOR  # type: ignore[import-not-found, unused-ignore]


class Suite:
    """Leaves out what the tables name, and counts."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.unknown: list[str] = []
        self.module = ""

    def count(self, _event: object) -> None:
        self.tasks[self.module] += 1

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        skips = {name: reason for reason, names in SKIPS.items() for name in names}
        if tuple(map(int, sklearn.__version__.split(".")[:2])) >= WRITTEN_FOR:
            self.unknown = sorted({*skips, *LONG} - {name for item in items for name in _names(item)})
        items[:] = filter(_is_wanted, items)
        for item in items:
            for name in _names(item):
                if name in skips:
                    item.add_marker(pytest.mark.skip(reason=skips[name]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.module = item.module.__name__ if isinstance(item, pytest.Function) else ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed[self.module] += report.when == "call" and report.passed

    def pytest_sessionfinish(self) -> None:
        told = {"passed": self.passed, "tasks": self.tasks, "unknown": self.unknown}
        Path(os.environ["SKYWARD_SKLEARN_RESULT"]).write_text(json.dumps(told))


def _is_wanted(item: pytest.Item) -> bool:
    return not set(_names(item)) & set(LONG) and not any(part in item.name for part in OTHERS)


def _names(item: pytest.Item) -> tuple[str, str]:
    """The test, and this set of its parameters."""
    return item.name.partition("[")[0], item.name


def pytest_configure(config: pytest.Config) -> None:
    suite = Suite()
    config.pluginmanager.register(suite)
    pool = ScikitLearnPool(nodes=2, timeout=None, display="quiet")
    pool.on(sky.TaskStarted, suite.count)
    pool.__enter__()
    config.add_cleanup(lambda: pool.__exit__(None, None, None))
