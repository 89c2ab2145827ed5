"""However an executor ends, its work is done or dropped as said, and no machine of it is left."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky

PROGRAM = """
import sys
import threading

import skyward as sky


def tell(*words):
    # In one piece: print writes the end of a line by itself, and other threads have something to tell as well.
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()


def say(event):
    if isinstance(event, (sky.LogLine, sky.ClusterDestroyed)):
        tell(getattr(event, "line", type(event).__name__))


def work(text, begun):
    import pathlib
    import time

    print("begun", text)
    while not pathlib.Path(begun).exists():
        time.sleep(0.01)
    print("ended", text)

"""
"""The beginning of programs that print what becomes of their work and their machines."""


def lines(program: subprocess.Popen[str], until: str) -> list[str]:
    """What a program prints, up to a line."""
    assert program.stdout is not None
    found = []
    for line in program.stdout:
        found.append(line.rstrip("\n"))
        if found[-1] == until:
            return found
    raise AssertionError(f"the program ended after {found}, and said {program.stderr and program.stderr.read()}")


@pytest.fixture(scope="module")
def provider() -> sky.Local:
    """How an executor ends is the same for all providers; these nodes see the files of this machine."""
    return sky.Local()


@pytest.fixture(scope="module")
def provider_source() -> str:
    return "sky.Local()"


@pytest.fixture
def mark(tmp_path: Any) -> Any:
    """A file for which ``work`` waits."""
    return tmp_path / "mark"


@pytest.fixture(scope="module")
def executor(provider: Any) -> Iterator[sky.Executor]:
    with sky.Executor(provider, display="quiet") as executor:
        yield executor


def test_a_program_that_ends_without_shutdown_waits_for_its_work_and_ends_the_machines(start: Any, mark: Any) -> None:
    program = start(
        PROGRAM
        + f"""
executor = sky.Executor(PROVIDER, display="quiet", on_event=say)
futures = [executor.submit(work, text, {str(mark)!r}) for text in "ab"]
tell("the end")
"""
    )
    assert lines(program, "the end")
    mark.touch()
    output, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (0, "")
    said = output.split()
    assert said.count("ended") == 2
    assert said[-1] == "ClusterDestroyed"


def test_after_an_uncaught_error_what_has_not_begun_is_dropped(start: Any, mark: Any) -> None:
    program = start(
        PROGRAM
        + f"""
executor = sky.Executor(PROVIDER, display="quiet", on_event=say)
futures = [executor.submit(work, text, {str(mark)!r}) for text in "ab"]
begun = threading.Event()
futures[0].add_done_callback(lambda future: tell("a is done"))
futures[1].add_done_callback(lambda future: tell("b is cancelled:", future.cancelled()))
raise KeyError("mine")
"""
    )
    assert "b is cancelled: True" in lines(program, "b is cancelled: True")
    mark.touch()
    output, errors = program.communicate(timeout=120)
    assert program.returncode == 1
    assert "KeyError: 'mine'" in errors
    assert {"ended a", "a is done"} <= {*output.splitlines()}
    assert output.splitlines()[-1] == "ClusterDestroyed"


def pressed(program: subprocess.Popen[str]) -> None:
    """Press Ctrl-C until the program ends: it may strike where the interpreter has already begun with that."""
    for _ in range(100):
        if program.poll() is not None:
            return
        program.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(timeout=1)
    raise AssertionError("the program goes on in spite of Ctrl-C")


@pytest.mark.parametrize("last", ["pass", "executor.shutdown(wait=False)", "executor = None", "executor.shutdown()"])
def test_ctrl_c_while_an_ending_program_waits_for_its_work_ends_the_machines(start: Any, mark: Any, last: str) -> None:
    program = start(
        PROGRAM
        + f"""
executor = sky.Executor(PROVIDER, display="quiet", on_event=say)
future = executor.submit(work, "a", {str(mark)!r})
{last}
"""
    )
    lines(program, "begun a")
    pressed(program)
    output, _ = program.communicate()
    assert output.split() == ["ClusterDestroyed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("block", ["with executor:", "if executor:"])
def test_a_program_that_is_told_to_end_does_not_wait_for_what_runs(
    start: Any, mark: Any, number: signal.Signals, block: str
) -> None:
    program = start(
        PROGRAM
        + f"""
executor = sky.Executor(PROVIDER, display="quiet", on_event=say)
{block}
    futures = [executor.submit(work, text, {str(mark)!r}) for text in "ab"]
    futures[0].add_done_callback(lambda future: tell("a:", type(future.exception()).__name__))
    futures[1].add_done_callback(lambda future: tell("b is cancelled:", future.cancelled()))
    futures[0].result()
"""
    )
    lines(program, "begun a")
    program.send_signal(number)
    output, _ = program.communicate(timeout=120)
    assert program.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert output.splitlines() == ["b is cancelled: True", "a: UsageError", "ClusterDestroyed"]


def test_an_executor_that_nobody_has_any_more_does_its_work_and_ends_its_machines(provider: Any, recorder: Any) -> None:
    futures = _submitted(provider, recorder)
    gc.collect()
    assert [future.result(60) for future in futures] == [1, 2, 3]
    recorder.wait(lambda event: isinstance(event, sky.ClusterDestroyed))


def _submitted(provider: Any, recorder: Any) -> list[concurrent.futures.Future[Any]]:
    executor = sky.Executor(provider, display="quiet", on_event=recorder)
    return [executor.submit(abs, -number) for number in (1, 2, 3)]


def test_a_program_ends_only_after_the_machines_of_an_executor_that_nobody_has(start: Any, mark: Any) -> None:
    program = start(
        PROGRAM
        + f"""
sky.Executor(PROVIDER, display="quiet", on_event=say).submit(work, "a", {str(mark)!r})
tell("the end")
"""
    )
    lines(program, "the end")
    mark.touch()
    output, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (0, "")
    assert output.splitlines()[-2:] == ["ended a", "ClusterDestroyed"]


def test_nothing_is_bought_for_what_is_submitted_when_the_program_is_over(script: Any) -> None:
    done = script(
        """
import atexit

import skyward as sky

executor = sky.Executor(PROVIDER, display="quiet", on_event=print)


@atexit.register
def late():
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        print(error)
"""
    )
    assert done.stdout == (
        "cannot schedule new futures after interpreter shutdown: use the executor before the program ends\n"
    )


def test_a_copy_of_the_process_ends_at_once_and_leaves_the_machines_alone(start: Any, mark: Any) -> None:
    program = start(
        PROGRAM
        + f"""
import os
import warnings

warnings.simplefilter("ignore")
with sky.Executor(PROVIDER, display="quiet") as executor:
    future = executor.submit(work, "a", {str(mark)!r})
    child = os.fork()
    if not child:
        executor.shutdown()
        sys.exit(3)
    tell("the copy ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    future.result()
    tell(executor.submit(abs, -4).result())
"""
    )
    lines(program, "the copy ended with 3")
    mark.touch()
    output, errors = program.communicate(timeout=120)
    assert (output, program.returncode, errors) == ("4\n", 0, "")


def test_shutdown_waits_for_a_call_that_is_being_submitted(provider: Any) -> None:
    pickling, pickled = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self) -> tuple[Any, ...]:
            pickling.set()
            assert pickled.wait(60)
            return int, (5,)

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        executor = sky.Executor(provider, display="quiet")
        with executor:
            submitted = threads.submit(lambda: executor.submit(str, Slow()))
            assert pickling.wait(60)
            shutting = threads.submit(executor.shutdown)
            with pytest.raises(RuntimeError, match="after shutdown"):
                while True:
                    executor.submit(abs, 1).result(60)
            pickled.set()
            shutting.result(60)
        assert submitted.result(60).result(60) == "5"


def test_a_shutdown_while_the_machines_are_provisioned_ends_them(provider: Any, recorder: Any) -> None:
    entering = threading.Event()

    def on_event(event: Any) -> None:
        recorder(event)
        if isinstance(event, sky.InfraCreating):
            entering.set()

    executor = sky.Executor(provider, display="quiet", on_event=on_event)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        submitted = threads.submit(executor.submit, abs, -1)
        assert entering.wait(60)
        executor.shutdown()
        assert not executor.pool.is_active
        error = submitted.exception(60)
    assert isinstance(error, RuntimeError)
    assert str(error) == "cannot schedule new futures after shutdown"
    assert recorder.of(sky.ClusterDestroyed)


def test_a_callback_that_leaves_by_sys_exit_does_not_keep_other_futures_from_ending(
    executor: sky.Executor,
) -> None:
    def leave(_: object) -> None:
        raise SystemExit(3)

    executor.submit(abs, -1).add_done_callback(leave)
    assert executor.submit(abs, -2).result(60) == 2
    assert executor.submit(abs, -3).result(60) == 3


def test_a_result_that_leaves_by_sys_exit_when_it_is_unpickled_is_an_error_of_its_future(
    executor: sky.Executor,
) -> None:
    class Leaving:
        def __reduce__(self) -> tuple[Any, ...]:
            import sys

            return sys.exit, (3,)

    error = executor.submit(lambda: Leaving()).exception(60)
    assert isinstance(error, sky.SerializationError)
    assert "cannot be unpickled on the client: it raised SystemExit(3)" in str(error)
    assert executor.submit(abs, -2).result(60) == 2
