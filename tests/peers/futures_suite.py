"""CPython's own tests of executors, out of the Python that runs this, with ``sky.Executor`` in the place of its pools.

A program: ``python futures_suite.py RESULT.json [TEST ...]``. Without tests it only says which there are. The result
holds those, how each of the chosen ones ended, and whether they left threads or processes behind.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import pickle
import sys
import unittest
from pathlib import Path
from typing import Any

import skyward as sky

SUITES = (
    ("executor", "ExecutorTest"),
    ("test_thread_pool", "ThreadPoolExecutorTest"),
    ("test_process_pool", "ProcessPoolExecutorTest"),
    ("test_as_completed", "AsCompletedTests"),
    ("test_wait", "WaitTests"),
    ("test_wait", "ThreadPoolWaitTests"),
    ("test_shutdown", "ExecutorShutdownTest"),
    ("test_shutdown", "ThreadPoolShutdownTest"),
    ("test_shutdown", "ProcessPoolShutdownTest"),
    ("test_deadlock", "ExecutorDeadlockTest"),
    ("test_init", "InitializerMixin"),
    ("test_init", "FailingInitializerMixin"),
)
"""The modules and their classes with tests of executors; ``test_future`` is about futures that no executor made."""

PACKAGE = "test.test_concurrent_futures"


class Machines(sky.Executor):
    """``sky.Executor`` with the signature of a process pool: its workers are the slots of one local node."""

    def __init__(self, max_workers: int = 5, *, mp_context: object = None) -> None:
        self.mp_context = mp_context
        super().__init__(sky.Local(), concurrency=max_workers, display="quiet", on_event=_echo)


def _echo(event: object) -> None:
    """Print what tasks print, as if they ran on this machine and had its terminal."""
    if isinstance(event, sky.LogLine):
        print(event.line, file=sys.stderr if event.stream == "stderr" else sys.stdout, flush=True)


def in_a_program_of_its_own(option: str, source: str) -> Any:
    """CPython's ``assert_python_ok``, where ``concurrent.futures`` has our executor in the place of its threads."""
    helper = importlib.import_module("test.support.script_helper")
    before = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "import concurrent.futures, futures_suite; concurrent.futures.Machines = futures_suite.Machines\n"
    )
    return helper.assert_python_ok(option, before + source.replace("ThreadPoolExecutor", "Machines"))


MEANT = {
    "assert_python_ok": in_a_program_of_its_own,
    "BrokenProcessPool": (sky.TaskError, pickle.UnpicklingError),
    "PicklingError": sky.SerializationError,
    "SystemExit": sky.TaskError,
}
"""What stands in the tests' modules in the place of CPython's own: a call that takes its process down fails alone, with
an error that says how, and the executor goes on."""


class Recorded(unittest.TestResult):
    """Keeps how each test ended and what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, tuple[str, str]] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._end(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._end(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._end(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.addFailure(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addFailure(test, err)

    def _end(self, test: unittest.TestCase, how: str, text: str = "") -> None:
        self.ends.setdefault(test.id().partition(".")[2], (how, text))


def cases() -> dict[str, type[unittest.TestCase]]:
    """Every test by its name, with the class that has it."""
    util = importlib.import_module(f"{PACKAGE}.util")
    context = staticmethod(lambda: multiprocessing.get_context("spawn"))
    mixin = type("Mixin", (util.ExecutorMixin,), {"executor_type": Machines, "get_context": context})
    found = {}
    for module_name, name in SUITES:
        module = importlib.import_module(f"{PACKAGE}.{module_name}")
        vars(module).update(MEANT)
        tests = getattr(module, name)
        bases = (mixin, tests) if issubclass(tests, unittest.TestCase) else (mixin, tests, util.BaseTestCase)
        case = type(name, bases, {"__module__": __name__, "__qualname__": name})
        found.update({f"{name}.{test}": case for test in vars(tests) if test.startswith("test_")})
    return found


def main() -> None:
    """Run the tests that are named."""
    known = cases()
    recorded = Recorded()
    for name in sys.argv[2:]:
        known[name](name.partition(".")[2]).run(recorded)
    altered = importlib.import_module("test.support").environment_altered
    result = {"known": sorted(known), "ends": recorded.ends, "altered": altered}
    Path(sys.argv[1]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
