"""``sky.Executor`` passes the tests that CPython has for its own executors, as far as they apply."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).with_name("futures_suite.py")
AT_ONCE = 3
"""Programs that share the tests: these sleep most of their time."""

PRIVATE = "looks at private parts of CPython's pools, which have processes or threads of their own"
LOCK = "has its calls wait for a lock in this process, which no other machine can share"
RENEWED = "is about processes that are replaced after so many calls; a slot lives as long as its node"
SIZE = "is about max_workers, in whose place are nodes and concurrency"
INITIALIZER = "a slot has no initializer; the image, and modules at their import, prepare a node"

SKIPS = {
    "ExecutorTest.test_max_workers_negative": f"{SIZE}: test_parameters shows that they are at least 1",
    "ThreadPoolExecutorTest.test_default_workers": SIZE,
    "ThreadPoolExecutorTest.test_executor_map_current_future_cancel": f"{LOCK}; test_executor_map shows the same",
    "ThreadPoolExecutorTest.test_hang_global_shutdown_lock": "makes CPython's own pools only",
    "ThreadPoolExecutorTest.test_idle_thread_reuse": PRIVATE,
    "ThreadPoolExecutorTest.test_map_submits_without_iteration": (
        "collects in a list of this process what its calls do; test_executor_map shows the same"
    ),
    "ThreadPoolExecutorTest.test_saturation": LOCK,
    "ProcessPoolExecutorTest.test_idle_process_reuse_multiple": PRIVATE,
    "ProcessPoolExecutorTest.test_idle_process_reuse_one": PRIVATE,
    "ProcessPoolExecutorTest.test_killed_child": f"{PRIVATE}; test_slot_deaths shows that only the killed call fails",
    "ProcessPoolExecutorTest.test_max_tasks_early_shutdown": RENEWED,
    "ProcessPoolExecutorTest.test_max_tasks_per_child": RENEWED,
    "ProcessPoolExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context": RENEWED,
    "ProcessPoolExecutorTest.test_max_workers_too_large": "Windows only",
    "ProcessPoolExecutorTest.test_python_finalization_error": f"{PRIVATE}, and breaks the start of their threads",
    "ProcessPoolExecutorTest.test_ressources_gced_in_workers": (
        "sends a proxy of multiprocessing, which answers processes of this program only; test_executor shows the same"
    ),
    "ProcessPoolExecutorTest.test_saturation": LOCK,
    "ProcessPoolExecutorTest.test_traceback": (
        "expects the remote traceback as text in a cause; here it is the error's own: test_exceptions"
    ),
    "ThreadPoolWaitTests.test_pending_calls_race": LOCK,
    "ThreadPoolShutdownTest.test_context_manager_shutdown": PRIVATE,
    "ThreadPoolShutdownTest.test_del_shutdown": f"{PRIVATE}; test_executor_ends shows that the machines end",
    "ThreadPoolShutdownTest.test_shutdown_no_wait": f"{PRIVATE}; test_executor shows that the machines end",
    "ThreadPoolShutdownTest.test_thread_names_assigned": PRIVATE,
    "ThreadPoolShutdownTest.test_thread_names_default": PRIVATE,
    "ThreadPoolShutdownTest.test_threads_terminate": LOCK,
    "ProcessPoolShutdownTest.test_context_manager_shutdown": PRIVATE,
    "ProcessPoolShutdownTest.test_del_shutdown": f"{PRIVATE}; test_executor_ends shows that the machines end",
    "ProcessPoolShutdownTest.test_processes_terminate": LOCK,
    "ProcessPoolShutdownTest.test_shutdown_no_wait": f"{PRIVATE}; test_executor shows that the machines end",
    "ExecutorDeadlockTest.test_error_at_task_pickle": (
        "expects it in the future; here submit refuses it before anything is sent: test_executor"
    ),
    "ExecutorDeadlockTest.test_gh105829_should_not_deadlock_if_wakeup_pipe_full": PRIVATE,
    "ExecutorDeadlockTest.test_shutdown_deadlock_pickle": PRIVATE,
    "InitializerMixin.test_initializer": INITIALIZER,
    "FailingInitializerMixin.test_initializer": INITIALIZER,
}
"""Tests that do not apply to ``sky.Executor``, each with its reason."""


def start(result: Path, *names: str) -> subprocess.Popen[str]:
    """Run tests in a program of its own, which is free of pytest and of what it has imported."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_"))}
    command = [sys.executable, str(SUITE), str(result), *names]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def outcome(program: subprocess.Popen[str], result: Path) -> Any:
    """What the program found."""
    _, errors = program.communicate(timeout=500)
    assert program.returncode == 0, errors
    return json.loads(result.read_text())


@pytest.fixture
def known(tmp_path: Path, require: Any) -> list[str]:
    """The names of the tests that this Python has."""
    try:
        importlib.import_module("test.test_concurrent_futures.executor")
    except ImportError:
        found = False
    else:
        found = True
    require(found, f"a Python {sys.version_info[0]}.{sys.version_info[1]} that came with its own tests", ci=False)
    result = tmp_path / "known.json"
    names: list[str] = outcome(start(result), result)["known"]
    return names


def failures(names: list[str], folder: Path) -> dict[str, str]:
    """Run tests; those that fail, with what they say."""
    parts = [names[at::AT_ONCE] for at in range(AT_ONCE)]
    programs = [(start(folder / f"{at}.json", *part), folder / f"{at}.json") for at, part in enumerate(parts)]
    ends: dict[str, tuple[str, str]] = {}
    for program, result in programs:
        found = outcome(program, result)
        assert not found["altered"], "threads or processes were left behind"
        ends.update(found["ends"])
    assert sorted(ends) == sorted(names)
    return {name: text for name, (how, text) in ends.items() if how != "passed"}


@pytest.mark.slow
@pytest.mark.no_cover
def test_the_executor_passes_cpythons_own_tests_but_for_those_with_a_reason(known: list[str], tmp_path: Path) -> None:
    gone = sorted(set(SKIPS) - set(known))
    assert not gone, "the table of skips names tests that are not there"
    failed = failures([name for name in known if name not in SKIPS], tmp_path)
    if failed:  # some of them measure time, which goes on while others are busy: once more, as CPython does it
        failed = failures(sorted(failed), tmp_path)
    assert not failed, "\n\n".join(f"{name}: {text}" for name, text in failed.items())
