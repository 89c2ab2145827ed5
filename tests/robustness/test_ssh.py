"""Pools over SSH, through a real server and a network that fails: each task runs once, and its result arrives."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sshd_here import OverSsh
from sshd_here import make_sshd as make_sshd
from sshd_here import ssh_root as ssh_root
from sshd_here import sshd as sshd
from sshd_here import sshd_path as sshd_path
from tcp_relay import TcpRelay
from tcp_relay import make_relay as make_relay

import skyward as sky


@pytest.fixture
def behind(sshd: Any, ssh_root: str, make_relay: Any, small: Any) -> Callable[..., Any]:
    """Makes a relay before the server, and a pool behind it."""

    def make(plan: Any = lambda _: (None, None), **options: Any) -> tuple[TcpRelay, sky.ComputePool]:
        relay = make_relay(sshd.port, plan)
        provider = OverSsh(address=sshd.address(port=relay.port), root=ssh_root)
        return relay, small(provider=provider, **{"lease": 20.0, **options})

    return make


def noting(folder: Path) -> Any:
    @sky.compute
    def note(number: int, data: bytes) -> tuple[int, bytes]:
        import secrets

        (folder / f"{number}.{secrets.token_hex(4)}").touch()
        print("line", number)
        return number, data

    return note


def ran(folder: Path) -> list[int]:
    return sorted(int(path.name.partition(".")[0]) for path in folder.iterdir())


def test_tasks_run_on_two_nodes_with_two_slots_each(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    _, pool = behind(nodes=2, concurrency=2)
    with pool:
        results = sky.gather(*(note(number, b"x" * number) for number in range(200))) >> pool
        assert results == tuple((number, b"x" * number) for number in range(200))
        assert len(note(1000, b"") @ pool) == 2
        with pytest.raises(ZeroDivisionError):
            sky.compute(lambda: 1 / 0)() >> pool
    assert ran(tmp_path) == sorted([*range(200), 1000, 1000])


def test_a_cut_before_a_request_is_not_noticed_by_its_caller(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind()
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

    relay, pool = behind()
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
@pytest.mark.parametrize("seed", range(4))
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
    relay, pool = behind(plan, concurrency=2)
    with pool:
        relay.cut()
        for size in (0, 100, 40_000):
            data = bytes([size % 251]) * size
            results = sky.gather(*(note(size + number, data) for number in range(20))) >> pool
            assert results == tuple((size + number, data) for number in range(20))
    assert relay.cuts > 1
    assert ran(tmp_path) == sorted(size + number for size in (0, 100, 40_000) for number in range(20))


@pytest.mark.slow
def test_a_large_result_survives_cuts_in_its_middle(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind(lambda number: (None, (40 << 20) * number) if number in (1, 2) else (None, None))
    data = secrets.token_bytes(1 << 20) * 256

    @sky.compute
    def large() -> bytes:
        return (tmp_path / "data").read_bytes()

    (tmp_path / "data").write_bytes(data)
    with pool:
        note(0, b"") >> pool
        relay.cut()
        assert large() >> pool == data
    assert relay.cuts == 3
    assert relay.connections == 4


def test_a_machine_whose_supervisor_is_killed_is_replaced(behind: Any, sshd: Any) -> None:
    @sky.compute
    def supervisor() -> int:
        import os

        return os.getppid()

    _, pool = behind(lease=10.0)
    replaced = threading.Event()
    with pool:
        pool.on(sky.NodeReplaced, lambda _: replaced.set())
        first = supervisor() >> pool
        os.kill(first, signal.SIGKILL)
        assert replaced.wait(60)
        assert supervisor() >> pool != first


def test_a_server_that_restarts_costs_a_reconnection_and_no_task(make_sshd: Any, ssh_root: str, small: Any) -> None:
    @sky.compute
    def double(x: int) -> int:
        return 2 * x

    server = make_sshd()
    with small(provider=OverSsh(address=server.address(), root=ssh_root), lease=20.0) as pool:
        assert double(1) >> pool == 2
        server.stop()
        future = pool.submit(double(2))
        server.start()
        assert future.result(60) == 4
