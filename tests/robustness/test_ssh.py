"""Pools over SSH, through a real server: one connection a node, and what becomes of a node or its server that ends."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from sshd_here import OverSsh, free_port

import skyward as sky

from .behind import noting, ran
from .conftest import wait_for_exit


def test_tasks_run_on_two_nodes_with_two_slots_each_over_one_connection_a_node(behind: Any, tmp_path: Path) -> None:
    note = noting(tmp_path)
    relay, pool = behind(nodes=2, concurrency=2)
    with pool:
        results = sky.gather(*(note(number, b"x" * number) for number in range(200))) >> pool
        assert results == tuple((number, b"x" * number) for number in range(200))
        assert len(note(1000, b"") @ pool) == 2
        with pytest.raises(ZeroDivisionError):
            sky.compute(lambda: 1 / 0)() >> pool
    assert ran(tmp_path) == sorted([*range(200), 1000, 1000])
    assert relay.connections == 2  # one for each node, whatever it has of slots


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


def test_a_client_that_comes_back_after_the_lease_is_told_so_and_gets_another_machine(
    behind: Any, sshd: Any, tmp_path: Path
) -> None:
    @sky.compute
    def supervisor() -> int:
        import os

        return os.getppid()

    @sky.compute
    def last() -> None:
        import time

        (tmp_path / "begun").touch()
        print("begun")
        time.sleep(1000)

    relay, pool = behind(lease=3.0)
    begun, replaced = threading.Event(), threading.Event()
    preempted: list[sky.InstancePreempted] = []
    with pool:
        pool.on(sky.LogLine, lambda _: begun.set())
        pool.on(sky.InstancePreempted, preempted.append)
        pool.on(sky.NodeReplaced, lambda _: replaced.set())
        first = supervisor() >> pool
        lasting = pool.submit(last())
        assert begun.wait(60)
        relay.target = free_port()  # nothing listens there
        relay.cut()
        assert wait_for_exit(first)  # all by itself
        relay.target = sshd.port
        error = lasting.exception(60)
        assert isinstance(error, sky.OutcomeUnknown)
        assert "lease" in str(error)
        assert replaced.wait(60)
        assert supervisor() >> pool != first
    assert "lease" in preempted[0].reason
