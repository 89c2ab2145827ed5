"""Many nodes, many slots, many threads, long and unusable paths, many pools one after another."""

from __future__ import annotations

import concurrent.futures
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky


def test_sixteen_nodes(small: Callable[..., Any], at_home: Any) -> None:
    @sky.compute
    def node() -> int:
        return sky.instance_info().node

    with small(nodes=16, lease=10.0) as pool:
        assert node() @ pool == tuple(range(16))
    assert at_home.processes() == []
    assert at_home.files() == []


def test_eight_slots_on_a_node(small: Callable[..., Any]) -> None:
    @sky.compute
    def meet(folder: str) -> int:
        import pathlib
        import time

        mine = sky.instance_info().worker
        (pathlib.Path(folder) / str(mine)).touch()
        while len(list(pathlib.Path(folder).iterdir())) < 8:
            time.sleep(0.001)
        return mine

    with small(concurrency=8) as pool, tempfile.TemporaryDirectory() as folder:
        assert sorted(sky.gather(*(meet(folder) for _ in range(8))) >> pool) == list(range(8))


def test_many_threads_dispatch_to_one_pool(small: Callable[..., Any]) -> None:
    @sky.compute
    def double(x: int) -> int:
        return 2 * x

    with small(nodes=2, concurrency=2) as pool, concurrent.futures.ThreadPoolExecutor(32) as threads:

        def work(begin: int) -> list[int]:
            return [double(number) >> pool for number in range(begin, begin + 200)]

        for begin, results in zip(range(0, 6400, 200), threads.map(work, range(0, 6400, 200)), strict=True):
            assert results == [2 * number for number in range(begin, begin + 200)]


def test_a_temporary_folder_with_a_long_path(home: Any, client: Callable[..., Any]) -> None:
    long = home.temporary / ("long" * 30)
    long.mkdir()
    program = client(
        """
        @sky.compute
        def one():
            return 1
        with pool() as p:
            say("result", one() >> p)
        """,
        TMPDIR=str(long),
    )
    assert program.hear("result") == "1"
    assert program.end() == 0
    assert list(long.iterdir()) == []


def test_when_no_folder_can_be_made_the_error_names_the_variable(
    small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise PermissionError("read-only")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with pytest.raises(sky.SkywardError, match="TMPDIR"), small():
        pass


def test_system_packages_that_are_missing_are_named_before_anything_starts(small: Callable[..., Any]) -> None:
    launched: list[object] = []
    image = sky.Image(apt=["surely-no-such-package"])
    with (
        pytest.raises(sky.SkywardError, match="surely-no-such-package"),
        small(image=image, on_event=launched.append),
    ):
        pass
    assert not any(isinstance(event, sky.InstanceLaunching) for event in launched)


CYCLES = """
import gc, resource, tracemalloc

@sky.compute
def one():
    return 1

def figures():
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * 4096
    # the one descriptor that lists them is counted as well, each time
    return len(os.listdir("/proc/self/fd")), threading.active_count(), resident, tracemalloc.get_traced_memory()[0]

def cycle():
    with pool(lease=5) as p:
        assert one() >> p == 1

for _ in range(10):
    cycle()
tracemalloc.start()
cycle()
marks = [figures()]
for _ in range(2):
    for _ in range(95):
        cycle()
    marks.append(figures())
descriptors, threads, resident, traced = ([each[at] for each in marks] for at in range(4))
# What is kept of each pool grows twice. A table of the interpreter's that has become too small grows once: that of all
# interned strings, to which pathlib adds each path, by a megabyte.
steady = min(traced[1] - traced[0], traced[2] - traced[1])
say("grown", *(each[2] - each[0] for each in (descriptors, threads, resident, traced)), steady)
"""


@pytest.mark.timeout(1200)
def test_two_hundred_pools_one_after_another_leave_nothing_grown(
    home: Any, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)  # the memory in which coverage keeps its counts is not meant
    program = client(CYCLES)
    descriptors, threads, resident, traced, steady = map(int, program.hear("grown", 1000).split())
    assert (descriptors, threads) == (0, 0)
    assert resident < 8 << 20
    assert steady < 100_000
    assert traced < 200_000 + (1 << 20)
    assert program.end() == 0
    assert home.processes() == []
    assert home.files() == []


MEMORY = """
import resource

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) << 10

@sky.compute
def back(array):
    return array

@sky.compute
def used():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM"].split()[0]) << 10, int(fields["VmRSS"].split()[0]) << 10

with pool(lease=10) as p:
    small = bytearray(1 << 20)
    assert len(back(small) >> p) == 1 << 20
    array = bytearray(64 << 20)
    array[:] = b"x" * len(array)
    client_before, (slot_before, _) = peak(), used() >> p
    result = back(array) >> p
    assert result == array
    slot_peak, _ = used() >> p
    for _ in range(20):  # after a few small tasks the memory that is kept for the next large one is given back as well
        _, slot_now = used() >> p
    say("client", peak() - client_before)
    say("slot", slot_peak - slot_before)
    say("kept", slot_now - slot_before)
"""


def test_a_large_value_there_and_back_is_in_memory_little_more_than_twice(client: Callable[..., Any]) -> None:
    program = client(MEMORY)
    size = 64 << 20
    # the client holds the argument before: 1 more of it is the result
    assert int(program.hear("client")) <= 1.2 * size
    assert int(program.hear("slot")) <= 2.2 * size
    assert int(program.hear("kept")) <= 0.2 * size
    assert program.end() == 0


def test_the_nodes_see_the_clients_folder_and_environment(small: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setenv("SOME_SETTING", "value")

    @sky.compute
    def look() -> tuple[str, str | None]:
        import os

        return os.getcwd(), os.environ.get("SOME_SETTING")

    with small() as pool:
        assert look() >> pool == (str(Path.cwd()), os.environ["SOME_SETTING"])
