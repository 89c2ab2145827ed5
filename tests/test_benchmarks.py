"""The benchmarks run, and count what they say that they count. No figure of time is judged here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_quick_benchmark_that_needs_no_peer_runs_and_names_the_peers_that_are_missing() -> None:
    done = benchmarks("latency", "throughput", "first", "--quick")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\| floor +\|", done.stdout, re.MULTILINE)) == 3
    assert len(re.findall(r"^\| skyward +\|", done.stdout, re.MULTILINE)) == 3


@pytest.mark.slow
def test_a_closure_is_sent_once_to_each_slot_however_often_it_is_called() -> None:
    done = benchmarks("closure", "--quick")
    assert done.returncode == 0, done.stderr
    sent = [float(number) for number in re.findall(r"^\| skyward.* (\d+\.\d+) \|$", done.stdout, re.MULTILINE)]
    assert len(sent) == 2
    assert all(1.0 <= copies < 1.01 for copies in sent)


SEARCH = """
import numpy as np
from benchmarks.joblib import Wide
for fits in (3, 24):
    search = Wide(fits, np.random.default_rng(fits).random((500, 4000)), [])
    assert search.here() > 0
    print(*search.sent)
"""


@pytest.mark.slow
def test_an_array_of_a_search_is_sent_once_to_each_slot_however_many_fits_there_are() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "SKYWARD_DISABLE_PLUGINS"}
    command = [sys.executable, "-c", SEARCH]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(1.0 <= float(copies) < 1.1 for copies in done.stdout.split())
    assert len(done.stdout.split()) == 2


def test_a_benchmark_that_does_not_exist_is_refused_with_the_names_of_those_that_do() -> None:
    done = benchmarks("speed")
    assert done.returncode == 2
    assert "there is no benchmark speed: choose from latency," in done.stderr


def test_the_written_figures_are_always_those_of_a_whole_run() -> None:
    done = benchmarks("latency", "--write")
    assert done.returncode == 2
    assert "--write keeps a whole run" in done.stderr


def test_the_readme_has_the_place_that_the_figures_are_written_to() -> None:
    text = (ROOT / "benchmarks/README.md").read_text()
    assert "<!-- figures: written by" in text
    assert "<!-- end of the figures -->" in text
