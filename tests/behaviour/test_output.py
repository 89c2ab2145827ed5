"""What tasks write arrives as it is written, marked with where it comes from."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


def _print(_: Any) -> None:
    print("a line")


def _print_to_stderr(_: Any) -> None:
    import sys

    print("a line", file=sys.stderr)


def _log(_: Any) -> None:
    import logging

    logging.getLogger("some.library").warning("a line")


def _log_configured(_: Any) -> None:
    import logging

    logging.basicConfig(format="%(message)s", level="INFO", force=True)
    logging.getLogger().info("a line")


def _warn(_: Any) -> None:
    import warnings

    warnings.simplefilter("always")
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"
    warnings.warn("a line", stacklevel=1)


def _progress(_: Any) -> None:
    from tqdm import tqdm

    bar = tqdm(total=3, bar_format="a line", mininterval=0)
    bar.update()
    bar.close()


def _from_a_thread(_: Any) -> None:
    import threading

    thread = threading.Thread(target=print, args=("a line",))
    thread.start()
    thread.join()


def _subprocess(_: Any) -> None:
    import subprocess

    subprocess.run(["echo", "a line"], check=True)


def _subprocess_to_stderr(_: Any) -> None:
    import subprocess

    subprocess.run("echo a line >&2", shell=True, check=True)


def _native(_: Any) -> None:
    import os

    os.write(1, b"a line\n")


def _native_to_stderr(_: Any) -> None:
    import os

    os.write(2, b"a line\n")


def _underlying_buffer(_: Any) -> None:
    import sys

    sys.stdout.buffer.write(b"a line\n")
    sys.stdout.flush()


WRITERS = {
    _print: "stdout",
    _print_to_stderr: "stderr",
    _log: "stderr",
    _log_configured: "stderr",
    _warn: "stderr",
    _progress: "stderr",
    _from_a_thread: "stdout",
    _subprocess: "stdout",
    _subprocess_to_stderr: "stderr",
    _native: "stdout",
    _native_to_stderr: "stderr",
    _underlying_buffer: "stdout",
}


def _by_value(function: Any) -> Any:
    """The function as if the program had defined it in ``__main__``: nodes do not get this module."""
    import types

    copy = types.FunctionType(function.__code__, {"__builtins__": __builtins__}, function.__name__)
    copy.__module__ = "__main__"
    return copy


@pytest.mark.parametrize("writer", WRITERS, ids=lambda function: function.__name__.strip("_"))
def test_a_line_arrives_while_its_task_runs(roomy: sky.ComputePool, listen: Any, gate: Any, writer: Any) -> None:
    write = _by_value(writer)

    @sky.compute
    def task() -> int:
        write(None)
        gate.wait()
        return sky.instance_info().worker

    @sky.compute
    def release() -> None:
        gate.open()

    seen = listen(roomy)
    running = roomy.submit(task())
    line = seen.line("a line")
    assert not running.done()
    release() >> roomy
    slot = running.result()
    (started,) = [event for event in seen.of(sky.TaskStarted) if event.name == "task"]
    assert (line.node, line.slot, line.stream) == (0, slot, WRITERS[writer])
    assert line.task_id == started.task_id
    assert line.instance_id == started.instance_id
    assert line.timestamp > 0


@pytest.mark.parametrize("writer", WRITERS, ids=lambda function: function.__name__.strip("_"))
def test_a_line_is_there_before_the_result(pool: sky.ComputePool, listen: Any, writer: Any) -> None:
    write = _by_value(writer)

    @sky.compute
    def task() -> None:
        write(None)

    seen = listen(pool)
    for _ in range(10):
        task() >> pool
        (task_id,) = {event.task_id for event in seen.of(sky.TaskCompleted)}
        assert {event.task_id for event in seen.of(sky.LogLine)} == {task_id}
        assert {event.line for event in seen.of(sky.LogLine)} == {"a line"}
        assert {event.stream for event in seen.of(sky.LogLine)} == {WRITERS[writer]}
        seen.events.clear()


def test_an_unfinished_line_is_given_out_at_the_tasks_end(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def task() -> None:
        print("no end", end="")

    seen = listen(pool)
    task() >> pool
    assert [event.line for event in seen.of(sky.LogLine)] == ["no end"]


def test_an_unfinished_line_of_a_subprocess_is_given_out_at_the_tasks_end(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def task() -> None:
        import subprocess

        subprocess.run(["printf", "no end"], check=True)

    seen = listen(pool)
    task() >> pool
    assert [event.line for event in seen.of(sky.LogLine)] == ["no end"]


def test_lines_of_one_task_keep_their_order(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def task() -> None:
        for number in range(2000):
            print(number)

    seen = listen(pool)
    task() >> pool
    seen.line("1999")
    assert [event.line for event in seen.of(sky.LogLine)] == [str(number) for number in range(2000)]


def test_each_nodes_lines_bear_its_number(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def task() -> None:
        print("node", sky.instance_info().node)

    seen = listen(pool)
    task() @ pool
    assert {(event.line, event.node) for event in seen.of(sky.LogLine)} == {("node 0", 0), ("node 1", 1)}


def test_any_text_may_be_printed(pool: sky.ComputePool, listen: Any) -> None:
    text = "snowman \N{SNOWMAN}, lone surrogate \udc80, tab\t, bell\a"

    @sky.compute
    def task() -> None:
        print(text)
        print("x" * 100_000)

    seen = listen(pool)
    task() >> pool
    lines = [event.line for event in seen.of(sky.LogLine)]
    assert lines[0].startswith("snowman \N{SNOWMAN}, lone surrogate \\udc80")
    assert "".join(lines[1:]) == "x" * 100_000


def test_a_task_that_replaces_its_streams_does_not_silence_the_next(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def silence() -> None:
        import io
        import sys

        sys.stdout = io.StringIO()
        print("nobody reads this")

    @sky.compute
    def speak() -> None:
        print("heard")

    seen = listen(pool)
    silence() @ pool
    speak() @ pool
    assert [event.line for event in seen.of(sky.LogLine)] == ["heard", "heard"]


def test_a_failing_tasks_last_words_arrive(pool: sky.ComputePool, listen: Any) -> None:
    @sky.compute
    def task() -> None:
        print("about to fail")
        raise ValueError

    seen = listen(pool)
    with pytest.raises(ValueError):
        task() >> pool
    assert [event.line for event in seen.of(sky.LogLine)] == ["about to fail"]
