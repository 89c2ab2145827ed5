"""What user code writes to sys.stdout and sys.stderr is given out line by line."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable

import pytest
from tqdm import tqdm

from skyward.worker.streams import NodeStream, install


class Node:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, float]] = []
        self.stdout = NodeStream(self.emit, "stdout", 1)
        self.stderr = NodeStream(self.emit, "stderr", 2)

    def emit(self, line: str, stream: str, timestamp: float) -> None:
        self.events.append((line, stream, timestamp))

    @property
    def lines(self) -> list[str]:
        return [line for line, _, _ in self.events]


def on_a_node(test: Callable[[Node], None]) -> Callable[[], None]:
    """Run ``test`` with a node's streams in place: not as a fixture, since pytest puts its own in before each test."""

    def run() -> None:
        before = {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__", "__stderr__")}
        node = Node()
        install(node.stdout, node.stderr)
        try:
            test(node)
        finally:
            for name, stream in before.items():
                setattr(sys, name, stream)

    return run


@on_a_node
def test_print_gives_out_whole_lines(node: Node) -> None:
    print("a", "b", end="")
    assert node.lines == []
    print("c", flush=True)
    print()
    print("err", file=sys.stderr)
    assert [event[:2] for event in node.events] == [("a bc", "stdout"), ("", "stdout"), ("err", "stderr")]
    assert all(timestamp > 1.6e9 for _, _, timestamp in node.events)


@on_a_node
def test_an_unfinished_line_comes_with_the_drain(node: Node) -> None:
    print("half", end="", flush=True)
    assert node.lines == []
    node.stdout.drain()
    print("next")
    assert node.lines == ["half", "next"]


@on_a_node
def test_bytes_and_text_share_one_line(node: Node) -> None:
    sys.stdout.write("text ")
    assert sys.stdout.buffer.write(bytearray(b"bytes\xc3")) == 6
    sys.stdout.buffer.write(memoryview(b"\xa9\n"))
    sys.stdout.buffer.flush()
    assert node.lines == ["text bytesé"]


@on_a_node
def test_the_streams_look_like_those_of_python(node: Node) -> None:
    assert sys.__stdout__ is sys.stdout
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        assert isinstance(stream, NodeStream)
        assert (stream.encoding, stream.fileno(), stream.isatty()) == ("utf-8", fd, False)
        assert stream.writable()
        assert not stream.readable()
        assert not stream.seekable()
        assert not stream.closed
        assert stream.buffer.fileno() == fd
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    assert node.stdout.write("é\n") == 2
    with pytest.raises(TypeError, match="must be str, not bytes"):
        node.stdout.write(b"x")  # type: ignore[arg-type]


@on_a_node
def test_characters_that_utf8_cannot_hold_do_not_raise(node: Node) -> None:
    print("name\udcff")
    assert node.lines == ["name\\udcff"]


@on_a_node
def test_closing_does_not_end_the_stream(node: Node) -> None:
    sys.stdout.close()
    print("still")
    with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as wrapper:
        wrapper.write("wrapped\n")
    del wrapper
    print("here")
    assert node.lines == ["still", "wrapped", "here"]


@on_a_node
def test_a_huge_text_arrives_in_bounded_lines(node: Node) -> None:
    size = 64 << 20
    assert sys.stdout.write("x" * size) == size
    node.stdout.drain()
    assert sum(map(len, node.lines)) == size
    assert max(map(len, node.lines)) == 64 << 10


@on_a_node
def test_logging_set_up_in_one_task_works_in_the_next(node: Node) -> None:
    logger = logging.getLogger("user-of-a-slot")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.warning("first")
    for stream in (node.stdout, node.stderr):
        stream.drain()
    install(node.stdout, node.stderr)
    logger.warning("second")
    logger.removeHandler(handler)
    assert node.lines == ["first", "second"]


@on_a_node
def test_warnings_arrive_on_stderr(node: Node) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # pytest records warnings itself; this is what Python does without it.
        sys.stderr.write(warnings.formatwarning("careful", UserWarning, "x.py", 3, "line"))
    assert node.lines == ["x.py:3: UserWarning: careful", "  line"]


@on_a_node
def test_a_progress_bar_arrives_while_it_runs(node: Node) -> None:
    seen: list[int] = []
    for _ in tqdm(range(3), mininterval=0, miniters=1, ascii=True, file=sys.stderr):
        seen.append(len(node.lines))
    assert seen == [1, 2, 3]
    assert "0/3" in node.lines[0]
    assert "3/3" in node.lines[-1]
    assert all(line.strip() for line in node.lines)
    print("after", file=sys.stderr)
    assert node.lines[-1] == "after"


@on_a_node
def test_nested_progress_bars_leave_no_blank_lines(node: Node) -> None:
    for _ in tqdm(range(2), mininterval=0, position=0, file=sys.stderr):
        for _ in tqdm(range(2), mininterval=0, position=1, leave=False, file=sys.stderr):
            pass
    assert all("/2" in line for line in node.lines)


@on_a_node
def test_lines_of_threads_do_not_run_into_each_other(node: Node) -> None:
    gate = threading.Barrier(4)

    def work(name: str) -> None:
        gate.wait()
        for number in range(200):
            print(name, number, name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(node.lines) == sorted(f"{name} {number} {name}" for name in "abcd" for number in range(200))


@on_a_node
def test_unfinished_lines_of_many_ended_threads_are_kept(node: Node) -> None:
    for number in range(150):
        thread = threading.Thread(target=print, args=(number,), kwargs={"end": ""})
        thread.start()
        thread.join()
    node.stdout.drain()
    assert sorted(map(int, node.lines)) == list(range(150))


@on_a_node
def test_a_signal_handler_may_print_while_its_thread_prints(node: Node) -> None:
    lines: list[str] = []

    def emit(line: str, stream: str, timestamp: float) -> None:
        lines.append(line)
        if line == "outer":
            signal.raise_signal(signal.SIGUSR1)

    stream = NodeStream(emit, "stdout", 1)
    before = signal.signal(signal.SIGUSR1, lambda *_: print("inner", file=stream))
    try:
        stream.write("outer\nrest\n")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lines == ["outer", "rest", "inner"]


def test_an_interrupt_while_lines_go_out_loses_none() -> None:
    lines: list[str] = []

    def emit(line: str, stream: str, timestamp: float) -> None:
        lines.append(line)
        if line == "one":
            raise KeyboardInterrupt

    stream = NodeStream(emit, "stdout", 1)
    with pytest.raises(KeyboardInterrupt):
        stream.write("one\ntwo\nthree\n")
    stream.drain()
    assert lines == ["one", "two", "three"]


def test_a_forked_child_writes_to_the_descriptor() -> None:
    reader, writer = os.pipe()
    lines: list[str] = []
    stream = NodeStream(lambda line, *_: lines.append(line), "stdout", writer)
    stream.write("parent ")
    code = (
        "import os, sys\n"
        "from skyward.worker.streams import NodeStream\n"
        "stream = NodeStream(lambda *event: os.write(2, b'emitted'), 'stdout', 1)\n"
        "stream.write('unfinished ')\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    print('child', file=stream, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    os.close(reader)
    os.close(writer)
    assert (done.stdout, done.stderr) == ("child\n", "")
