"""What integrations have slots import as soon as they are started: on real nodes, whose imports a test can hold up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import skyward as sky
from skyward.spi import ComputeSpec, Supplies

LIMIT = 60.0

MODULES = {
    "ahead_plain": "",
    "ahead_loud": """
        import logging, os, subprocess, sys, warnings
        print("said by print")
        os.write(1, b"said past Python\\n")
        subprocess.run(["echo", "said by a process"])
        warnings.warn("said by a warning")
        handler = logging.StreamHandler()
        sys.stderr.write("said without an end")
    """,
    "ahead_raises": "raise SystemExit(3)",
    "ahead_waits": "import os; open(os.environ['AHEAD_GATE']).read()",
    "ahead_slowly": """
        import os
        open(os.environ['AHEAD_GATE']).read()
        there = True
    """,
    "ahead_asks": "import gc; collects = gc.isenabled()",
    "ahead_dies": "import ctypes; ctypes.string_at(0)",
}


@frozen
class Importing:
    """Has these modules imported."""

    names: tuple[str, ...]

    def __call__(self, function: Any) -> Any:
        return function

    def supplies(self, spec: ComputeSpec) -> Supplies:
        return Supplies(preload=self.names)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe which the import of ``ahead_waits`` reads to its end. The modules are importable on the nodes."""
    for name, text in MODULES.items():
        lines = [line.strip() for line in text.strip().splitlines()]
        (tmp_path / f"{name}.py").write_text("\n".join(lines), encoding="utf-8")
    path = tmp_path / "gate"
    os.mkfifo(path)
    monkeypatch.setenv("AHEAD_GATE", str(path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return path


def pool_with(*names: str, **parameters: Any) -> sky.ComputePool:
    return sky.ComputePool(plugins=[Importing(names)], display="quiet", **parameters)


@sky.compute
def imported() -> set[str]:
    return {name for name in sys.modules if name.startswith("ahead_")}


@sky.compute
def speaks() -> None:
    import ahead_loud  # type: ignore[import-not-found]  # on the nodes alone

    print("said by the task")
    os.write(2, b"said by the task past Python\n")
    ahead_loud.handler.stream.write("said by a handler that the import made\n")


@sky.compute
def ends_its_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_slots_have_imported_the_modules_before_their_first_task_and_what_cannot_be_imported_is_passed_over(
    gate: Path,
) -> None:
    with pool_with("ahead_raises", "ahead_missing.part", "ahead_plain", "ahead_loud", concurrency=2) as pool:
        found = sky.gather(*[imported() for _ in range(2)]) >> pool
    assert found == ({"ahead_plain", "ahead_loud"}, {"ahead_plain", "ahead_loud"})


def test_what_an_import_says_is_not_shown_and_what_tasks_say_is(gate: Path) -> None:
    lines: list[str] = []
    with pool_with("ahead_loud") as pool:
        pool.on(sky.LogLine, lambda event: lines.append(event.line))
        speaks() >> pool
    said = ["said by a handler that the import made", "said by the task", "said by the task past Python"]
    assert sorted(lines) == said


def test_a_pool_is_ready_while_its_slots_still_import_and_its_first_task_waits_for_them(gate: Path) -> None:
    with pool_with("ahead_waits", "ahead_plain") as pool:
        future = pool.submit(imported())
        assert not future.done()
        gate.write_text("")  # opens once the import reads it
        assert future.result(LIMIT) == {"ahead_waits", "ahead_plain"}


def test_a_task_that_waits_for_imports_can_be_cancelled_and_they_go_on(gate: Path) -> None:
    started = threading.Event()
    with pool_with("ahead_waits", "ahead_plain") as pool:
        pool.on(sky.TaskStarted, lambda _: started.set())
        future: Any = pool.submit(imported())
        assert started.wait(LIMIT)
        future.interrupt()
        with pytest.raises(sky.TaskCancelled):
            future.result(LIMIT)
        gate.write_text("")
        assert imported() >> pool == {"ahead_waits", "ahead_plain"}


def test_a_call_whose_slots_still_import_says_for_which_it_waits(
    gate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("skyward._together._LATE", 0.0)
    told = threading.Event()
    monkeypatch.setattr(caplog.handler, "emit", lambda record: told.set() if "waits for" in record.msg else None)
    function = sky.ComputeFunction(os.getpid, together=True)
    function.bound_to = lambda _size: ""  # type: ignore[attr-defined]
    with caplog.at_level("INFO", "skyward.tasks"), pool_with("ahead_slowly") as pool, ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.broadcast, function())
        assert told.wait(LIMIT)
        gate.write_text("")
        assert len(call.result(LIMIT)) == 1


def test_a_process_is_asked_what_it_is_bound_to_when_its_imports_are_over(gate: Path) -> None:
    def bound_to(size: int) -> str:
        import sys

        found: Any = sys.modules["ahead_slowly"]
        return "" if found.there else "half of it"

    started = threading.Event()
    function = sky.ComputeFunction(os.getpid, together=True)
    function.bound_to = bound_to  # type: ignore[attr-defined]
    with pool_with("ahead_slowly") as pool, ThreadPoolExecutor(1) as threads:
        pool.on(sky.TaskStarted, lambda _: started.set())
        call = threads.submit(pool.broadcast, function())
        assert started.wait(LIMIT)
        gate.write_text("")
        assert len(call.result(LIMIT)) == 1


@sky.compute
def collects() -> tuple[bool, bool, bool]:
    import gc

    asks = sys.modules["ahead_asks"]
    return asks.collects, gc.isenabled(), any(each is asks for each in gc.get_objects())


def test_garbage_is_searched_for_by_tasks_and_neither_by_imports_nor_among_what_they_made(gate: Path) -> None:
    with pool_with("ahead_asks") as pool:
        assert collects() >> pool == (False, True, False)


def test_a_pool_ends_while_its_slots_still_import(gate: Path) -> None:
    with pool_with("ahead_waits", concurrency=2):
        pass


def test_a_slot_that_is_started_again_imports_again(gate: Path) -> None:
    with pool_with("ahead_plain") as pool:
        with pytest.raises(sky.SlotDied):
            ends_its_process() >> pool
        assert imported() >> pool == {"ahead_plain"}


def test_a_module_that_kills_its_process_is_passed_over_with_those_beside_it(gate: Path) -> None:
    with pool_with("ahead_plain", "ahead_dies") as pool:
        assert imported() >> pool == set()
