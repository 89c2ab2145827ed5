"""Connections that drop and delay: each task runs once, and its result arrives."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyward as sky

from .behind import noting, ran

DELAY = 0.01
"""Seconds from here to there, and as many back."""


def test_a_cut_before_a_request_is_not_noticed_by_its_caller(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind(delay=DELAY)
    with pool:
        assert note(0, b"") >> pool == (0, b"")
        relay.cut()
        assert note(1, b"") >> pool == (1, b"")
    assert relay.connections == 2
    assert ran(tmp_path) == [0, 1]


def test_a_cut_while_a_task_runs_loses_neither_its_lines_nor_its_result(behind: Any, tmp_path: Path) -> None:
    @sky.compute
    def talk() -> str:
        import time

        print("before")
        while not (tmp_path / "go on").exists():
            time.sleep(0.001)
        print("after")
        return "done"

    relay, pool = behind(delay=DELAY)
    lines: list[str] = []
    begun = threading.Event()

    def hear(event: sky.LogLine) -> None:
        lines.append(event.line)
        begun.set()

    with pool:
        pool.on(sky.LogLine, hear)
        future = pool.submit(talk())
        assert begun.wait(60)
        relay.cut()
        (tmp_path / "go on").touch()
        assert future.result(60) == "done"
    assert lines == ["before", "after"]
    assert relay.connections == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_over_a_connection_that_drops_again_and_again_each_task_runs_once(
    behind: Any, tmp_path: Path, seed: int
) -> None:
    source = random.Random(seed)

    def plan(number: int) -> tuple[int | None, int | None]:
        if not 0 < number < 6:  # the first one makes the node ready
            return None, None
        after = source.randint(10_000, source.choice((20_000, 300_000)))  # the handshake is through before
        return (after, None) if source.random() < 0.5 else (None, after)

    note = noting(tmp_path)
    relay, pool = behind(plan, delay=DELAY, concurrency=2)
    with pool:
        relay.cut()
        for size in (0, 100, 40_000):
            data = bytes([size % 251]) * size
            results = sky.gather(*(note(size + number, data) for number in range(20))) >> pool
            assert results == tuple((size + number, data) for number in range(20))
    assert relay.cuts > 1
    assert ran(tmp_path) == sorted(size + number for size in (0, 100, 40_000) for number in range(20))


def test_a_result_whose_acknowledgement_is_lost_is_neither_sent_nor_run_again(behind: Any, tmp_path: Path) -> None:
    @sky.compute
    def large(number: int) -> bytes:
        import time

        with open(tmp_path / "ran", "a") as file:
            file.write(f"{number}\n")
        print("begun")
        while not (tmp_path / f"go on {number}").exists():
            time.sleep(0.001)
        return bytes(200_000)  # so large that it is acknowledged at once

    relay, pool = behind(delay=DELAY)
    begun = threading.Event()
    with pool:
        pool.on(sky.LogLine, lambda _: begun.set())
        for number in range(3):
            begun.clear()
            future = pool.submit(large(number))
            assert begun.wait(60)
            relay.freeze(relay.up)  # the acknowledgement goes out, and nowhere
            (tmp_path / f"go on {number}").touch()
            assert future.result(60) == bytes(200_000)
            relay.cut()
            relay.thaw()
        assert sky.compute(lambda: "still there")() >> pool == "still there"
    assert relay.connections == 4
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2"]


@pytest.mark.slow
def test_a_result_of_256_mib_survives_cuts_in_its_middle(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind(lambda number: (None, (40 << 20) * number) if number in (1, 2) else (None, None), delay=DELAY)
    source = random.Random(1)
    data = b"".join(source.randbytes(64 << 20) for _ in range(4))
    (tmp_path / "data").write_bytes(data)

    @sky.compute
    def large() -> bytes:
        with open(tmp_path / "ran", "a") as file:
            file.write("once\n")
        return (tmp_path / "data").read_bytes()

    with pool:
        note(0, b"") >> pool
        relay.cut()
        assert large() >> pool == data
    assert relay.cuts == 3
    assert relay.connections == 4
    assert (tmp_path / "ran").read_text() == "once\n"


@pytest.mark.slow
def test_an_argument_of_64_mib_survives_cuts_in_its_middle(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind(lambda number: ((20 << 20) * number, None) if number in (1, 2) else (None, None), delay=DELAY)
    data = random.Random(2).randbytes(64 << 20)
    with pool:
        relay.cut()
        assert note(7, data) >> pool == (7, data)
    assert relay.cuts == 3
    assert ran(tmp_path) == [7]


@pytest.mark.slow
def test_a_broadcast_runs_once_on_each_node_though_all_their_connections_drop(behind: Any, tmp_path: Path) -> None:
    def plan(number: int) -> tuple[int | None, int | None]:
        return ((3 << 20, None), (None, 5 << 20))[number % 2] if 3 <= number < 8 else (None, None)

    note = noting(tmp_path)
    relay, pool = behind(plan, delay=DELAY, nodes=3)
    data = random.Random(3).randbytes(8 << 20)
    with pool:
        relay.cut()
        assert note(5, data) @ pool == ((5, data),) * 3
    assert relay.cuts >= 4
    assert ran(tmp_path) == [5, 5, 5]


CUTS = st.lists(st.tuples(st.booleans(), st.integers(0, 12_000)), max_size=4)
"""For the connections to come, one after another: cut on the way up, or down, after so many bytes. A handshake takes
about 3,000 each way, so that some are cut in its middle."""


@pytest.mark.slow
def test_wherever_a_connection_is_cut_each_small_task_runs_once(behind: Any, tmp_path: Path) -> None:
    coming: list[tuple[bool, int]] = []

    def plan(_: int) -> tuple[int | None, int | None]:
        if not coming:
            return None, None
        upwards, after = coming.pop(0)
        return (after, None) if upwards else (None, after)

    note = noting(tmp_path)
    relay, pool = behind(plan, concurrency=2)
    numbers = iter(range(100_000))
    with pool:

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(cuts=CUTS, sizes=st.lists(st.sampled_from([0, 10, 3_000]), min_size=1, max_size=5))
        def example(cuts: list[tuple[bool, int]], sizes: list[int]) -> None:
            coming[:] = cuts
            if cuts:
                relay.cut()
            calls = [(next(numbers), bytes([size % 251]) * size) for size in sizes]
            assert sky.gather(*(note(*call) for call in calls)) >> pool == tuple(calls)

        example()
    assert ran(tmp_path) == list(range(next(numbers)))
    assert relay.cuts > 10
