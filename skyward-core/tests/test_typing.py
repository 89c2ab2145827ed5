"""What checkers know of the surface: ``typing/`` asserts it, and mypy reads it here. Pyright does in ``make types``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "typing"
MISTAKE = """
from skyward.computation import Target
from skyward.function import compute

@compute
def add(a: int) -> int:
    return a

def use(pool: Target) -> None:
    result: str = add(b=1) >> pool
"""


def mypy(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    # A configuration of its own, so that the rules here are strict whatever the repository's are. MYPYPATH would make
    # mypy find the installed package twice.
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary", f"--cache-dir={cache}"]
        + [str(argument) for argument in arguments],
        env=environment,
        cwd=cache,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_checkers_see_the_types_of_results_and_report_misuse(require: Any, tmp_path: Path) -> None:
    require.module("mypy")
    files = sorted(FOLDER.glob("*.py"))
    assert files
    done = mypy(*files, cache=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    broken = tmp_path / "broken.py"
    broken.write_text(MISTAKE)
    said = mypy(broken, cache=tmp_path).stdout
    assert 'Unexpected keyword argument "b" for "__call__" of "ComputeFunction"  [call-arg]' in said
    assert "Incompatible types in assignment" in said
