"""Functions that run together while slots, nodes, networks and clients fail under them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import skyward as sky
from skyward import _local_processes

from .conftest import PATIENCE, until, wait_for_exit
from .relay import Failing, Relay, cutting


def together(fn: Callable[..., Any], retry: int = 0) -> sky.ComputeFunction[..., Any]:
    return sky.ComputeFunction(fn, retry, together=True)


def working(folder: Path) -> Callable[[], Any]:
    """A function that notes that it runs, and waits for the word to go on. It gives the name of its call."""

    def work() -> Any:
        import os
        import time

        from skyward.spi import current_group

        group: Any = current_group()
        (folder / f"{group.rank}.{group.call}.{os.getppid()}.{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        return group.call

    return work


def noted(folder: Path, rank: int) -> list[tuple[str, int, int]]:
    """Call, supervisor and slot process of each time that a rank ran."""
    found = [path.name.split(".") for path in folder.glob(f"{rank}.*")]
    return [(call, int(supervisor), int(slot)) for _, call, supervisor, slot in found]


@pytest.mark.parametrize("retry", [0, 1])
def test_a_node_that_is_lost_ends_the_group_and_with_retry_all_of_it_runs_again(
    small: Callable[..., Any], tmp_path: Path, retry: int
) -> None:
    with small(nodes=2, concurrency=2) as pool, concurrent.futures.ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.broadcast, together(working(tmp_path), retry)())
        until(lambda: all(noted(tmp_path, rank) for rank in range(4)))
        ((_, supervisor, slot),) = noted(tmp_path, 2)
        os.kill(supervisor, signal.SIGKILL)
        assert wait_for_exit(slot)
        if retry:
            until(lambda: all(len(noted(tmp_path, rank)) == 2 for rank in range(4)))
            (tmp_path / "go").touch()
            assert len(set(call.result(PATIENCE))) == 1
            assert len({each[0] for rank in range(4) for each in noted(tmp_path, rank)}) == 2
        else:
            with pytest.raises(sky.NodeLost, match=r"node 1 .*was lost while it ran work together.*retry=1") as caught:
                call.result(PATIENCE)
            assert caught.value.node == 1
            assert "each of ranks 0, 1 was stopped" in "".join(caught.value.__notes__)
            (tmp_path / "go").touch()
            assert len(set(together(working(tmp_path))() @ pool)) == 1, "the next call waits for the new node"


@pytest.mark.parametrize("victim", ["slot", "node"])
def test_what_is_lost_before_the_group_has_met_costs_nothing(
    small: Callable[..., Any], tmp_path: Path, victim: str
) -> None:
    place = sky.compute(lambda: (os.getpid(), os.getppid()))
    (tmp_path / "go").touch()
    started: list[sky.TaskStarted] = []
    with small(nodes=2) as pool, concurrent.futures.ThreadPoolExecutor(1) as threads:
        pool.on(sky.TaskStarted, started.append)
        (_, _), (slot, supervisor) = place() @ pool
        os.kill(slot, signal.SIGSTOP)  # so that it does not answer
        del started[:]
        call = threads.submit(pool.broadcast, together(working(tmp_path))())
        until(lambda: len(started) == 2)
        os.kill(slot if victim == "slot" else supervisor, signal.SIGKILL)
        assert len(set(call.result(PATIENCE))) == 1
        assert [len(noted(tmp_path, rank)) for rank in (0, 1)] == [1, 1]


def test_a_group_that_has_not_met_can_be_cancelled_and_leaves_its_slots(
    small: Callable[..., Any], tmp_path: Path
) -> None:
    pid = sky.compute(os.getpid)
    (tmp_path / "go").touch()
    started: list[sky.TaskStarted] = []

    def listening(process: int) -> bool:
        found = psutil.Process(process).net_connections("tcp")
        return any(each.status == psutil.CONN_LISTEN for each in found)

    async def main(pool: sky.ComputePool, other: int, stopped: int) -> None:
        os.kill(stopped, signal.SIGSTOP)
        del started[:]
        call = asyncio.create_task(pool.abroadcast(together(working(tmp_path))()))
        await asyncio.to_thread(until, lambda: len(started) == 2 and listening(other))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(until, lambda: not listening(other))
        assert stopped != await pool.arun(pid())
        os.kill(stopped, signal.SIGCONT)
        assert len(set(await pool.abroadcast(together(working(tmp_path))()))) == 1

    with small(nodes=2) as pool:
        pool.on(sky.TaskStarted, started.append)
        asyncio.run(main(pool, *(pid() @ pool)))
    assert [len(noted(tmp_path, rank)) for rank in (0, 1)] == [1, 1]


def test_a_group_that_waits_for_a_node_that_will_not_come_fails_with_its_name(
    small: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = sky.compute(os.getppid)

    def refuse(*_: object) -> None:
        raise OSError("no more processes")

    with small(nodes=2, concurrency=2) as pool, concurrent.futures.ThreadPoolExecutor(1) as threads:
        supervisor = (parent() @ pool)[1]
        monkeypatch.setattr(_local_processes, "start", refuse)
        call = threads.submit(pool.broadcast, together(working(tmp_path), retry=1)())
        until(lambda: all(noted(tmp_path, rank) for rank in range(4)))
        os.kill(supervisor, signal.SIGKILL)
        with pytest.raises(sky.NodeLost, match="node 1"):
            call.result(PATIENCE)
        with pytest.raises(sky.NodeLost, match="node 1 is gone"):
            together(working(tmp_path))() @ pool
        assert parent() >> pool != supervisor


@pytest.mark.parametrize("seed", range(4))
def test_connections_that_break_while_groups_meet_cost_no_call(small: Callable[..., Any], seed: int) -> None:
    def meet(data: bytes) -> tuple[int, int, str]:
        import socket

        from skyward.spi import current_group

        group: Any = current_group()
        if group.rank:
            with socket.create_connection((group.head.address, group.head.port), 60) as link:
                assert link.recv(1) == b"x"
        else:
            group.listener().settimeout(60)
            for link in [group.listener().accept()[0] for _ in range(group.size - 1)]:
                link.sendall(b"x")
                link.close()
        return group.rank, len(data), group.call

    run = together(meet)
    relay = Relay(cutting(seed, (200, 2000, 20_000), 12))
    try:
        with small(provider=Failing(relay=relay), nodes=2, lease=30.0) as pool:
            for number in range(40):
                results = run(bytes(100 * number)) @ pool
                assert [(rank, size) for rank, size, _ in results] == [(0, 100 * number), (1, 100 * number)]
                assert len({call for _, _, call in results}) == 1
        assert relay.cuts
    finally:
        relay.close()


def test_ctrl_c_ends_all_ranks_and_leaves_the_pool_usable(client: Any) -> None:
    program = client(
        """
        def work():
            import itertools, os, time
            from skyward.spi import current_group
            os.write(1, b"at work\\n")
            if current_group().rank == 1:
                sum(itertools.repeat(1))
            try:
                time.sleep(1000)
            except KeyboardInterrupt:
                print("saw the interrupt", flush=True)
                raise

        begun = threading.Semaphore(0)

        def notice(event):
            if isinstance(event, sky.LogLine) and event.line == "at work":
                begun.release()
            if isinstance(event, sky.TaskCompleted):
                say("ended", event.succeeded)

        def tell():
            for _ in range(4):
                begun.acquire()
            say("all")

        with pool(nodes=2, concurrency=2, on_event=notice, lease=20) as p:
            threading.Thread(target=tell).start()
            try:
                sky.ComputeFunction(work, 0, True)() @ p
            except KeyboardInterrupt:
                say("caught")
            say("then", *(sky.ComputeFunction(lambda: 7, 0, True)() @ p))
        """
    )
    program.hear("all")
    program.signal(signal.SIGINT)
    assert program.hear("then") == "7 7 7 7"
    assert program.end() == 0
    assert program.heard.index("caught") == program.heard.index("all") + 5, "the last words come first"
    assert program.heard.count("ended False") == 4


def test_a_group_over_ssh_meets_and_ends_together(behind: Any, tmp_path: Path) -> None:
    def fail() -> None:
        import time

        from skyward.spi import current_group

        group: Any = current_group()
        if group.rank == 3:
            raise ValueError("the cause")
        time.sleep(1000)

    relay, pool = behind(nodes=2, concurrency=2)
    with pool, concurrent.futures.ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.broadcast, together(working(tmp_path))())
        until(lambda: call.done() or all(noted(tmp_path, rank) for rank in range(4)))
        relay.cut()
        (tmp_path / "go").touch()
        assert len(set(call.result(PATIENCE))) == 1
        with pytest.raises(ValueError, match="the cause") as caught:
            together(fail)() @ pool
        assert "each of ranks 0, 1, 2 was stopped" in "".join(caught.value.__notes__)
        assert len(together(os.getpid)() @ pool) == 4
