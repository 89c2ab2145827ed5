"""joblib's own tests of its default backend, out of the installed package, with a pool in that backend's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

PLACE = Path(__file__).parent / "peers"
TESTS = (
    "parallel",
    "memory::test_parallel_call_cached_function_defined_in_jupyter",
    "memory::test_cached_function_race_condition_when_persisting_output",
    "memory::test_cached_function_race_condition_when_persisting_output_2",
    "store_backends::test_concurrency_safe_write",
    "func_inspect::test_func_code_consistency",
    "memmapping::test_many_parallel_calls_on_same_object",
    "memmapping::test_memmap_returned_as_regular_array",
    "memmapping::test_numpy_arrays_use_different_memory",
    "memmapping::test_direct_mmap",
)
"""Of the modules of joblib's tests, those that run something by ``Parallel``. What is left out of ``test_memmapping``
looks into the folders that loky's workers share."""


def test_what_joblib_asks_of_loky_holds_for_a_pool(outer_environ: dict[str, str], tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), "-q", "-rfE"]
    command += ["-p", "no:cacheprovider", "-p", "no:skyward", "-p", "joblib_place", "--timeout", "120"]
    command += ["--pyargs", *(f"joblib.test.test_{test}" for test in TESTS), "--disable-warnings"]
    environ = outer_environ | {"PYTHONPATH": str(PLACE), "SKYWARD_JOBLIB_RESULT": str(result)}
    run = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(result.read_text())
    assert not told["unknown"], "skips that name no test"
    assert sum(outcome == "passed" for outcome in told["outcomes"].values()) > 250
    assert told["tasks"] > 500
