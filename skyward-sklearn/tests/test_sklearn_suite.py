"""scikit-learn's own tests of what it does in parallel, out of the installed package, on the slots of a pool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.timeout(1200)]

PLACE = Path(__file__).parent / "peers"
LEAST = {
    "sklearn.ensemble.tests.test_bagging": 60,
    "sklearn.ensemble.tests.test_forest": 100,
    "sklearn.inspection.tests.test_permutation_importance": 30,
    "sklearn.model_selection.tests.test_search": 90,
    "sklearn.model_selection.tests.test_validation": 60,
}
"""Modules with tests, and how many of each pass at least. Each test sends several tasks on average."""


def test_what_scikit_learn_asks_of_itself_holds_on_a_pool(outer_environ: dict[str, str], tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), "-q", "-rfE", "--tb=short"]
    command += ["-p", "no:cacheprovider", "-p", "no:skyward", "-p", "sklearn_place", "--timeout", "300"]
    environ = outer_environ | {"PYTHONPATH": str(PLACE), "SKYWARD_SKLEARN_RESULT": str(result)}
    run = subprocess.run([*command, "--pyargs", *LEAST], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(result.read_text())
    assert not told["unknown"], "names in the tables that no test has"
    for module, least in LEAST.items():
        passed, tasks = told["passed"][module], told["tasks"][module]
        assert passed >= least, module
        assert tasks > 2 * passed, f"the tests of {module} ran elsewhere than on the pool"
