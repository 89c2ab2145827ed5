"""Functions that run together on real nodes: who they are told of, their ports, and that they end together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from group_meeting import PATIENCE, together, until
from group_meeting import meet as meet
from group_meeting import pool as pool

import skyward as sky
from skyward.spi import current_group


def test_one_copy_runs_in_every_slot_and_each_is_told_of_all(pool: sky.ComputePool) -> None:
    @together
    def who() -> Any:
        from skyward.spi import current_group

        group: Any = current_group()
        here = sky.instance_info()
        own = group.members[group.rank]
        assert (own.node, own.worker) == (here.node, here.worker)
        assert group.head == group.members[0]
        assert group.listener().getsockname() == (own.address, own.port)
        return group.call, group.rank, group.size, group.local_rank, group.local_size, group.members

    first, second = who() @ pool, who() @ pool
    assert [each[1:5] for each in first] == [(0, 4, 0, 2), (1, 4, 1, 2), (2, 4, 0, 2), (3, 4, 1, 2)]
    (members,) = {each[5] for each in first}
    assert [member[:3] for member in members] == [(node, slot, "127.0.0.1") for node in (0, 1) for slot in (0, 1)]
    assert len({member.port for member in members}) == 4
    assert len({each[0] for each in (*first, *second)}) == 2, "each call has a name of its own"


def test_ports_are_held_for_the_function_and_lead_to_it(pool: sky.ComputePool, meet: Any) -> None:
    @together
    def try_ports() -> Any:
        import errno

        from skyward.spi import current_group

        group: Any = current_group()
        refused = []
        for member in group.members:
            with socket.socket() as thief:
                try:
                    thief.bind((member.address, member.port))
                except OSError as error:
                    refused.append(error.errno == errno.EADDRINUSE)
        return refused, meet(), group.members[group.rank]

    results = try_ports() @ pool
    assert [refused for refused, _, _ in results] == [[True] * 4] * 4
    assert [total for _, total, _ in results] == [6] * 4

    @sky.compute
    def is_free(port: int) -> bool:

        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whatever lingers of its connections
            probe.bind(("127.0.0.1", port))
            return True

    assert all(sky.gather(*(is_free(member.port) for _, _, member in results)) >> pool)


def test_a_port_can_be_handed_over_or_bound_again_by_the_function(pool: sky.ComputePool) -> None:
    @together
    def take() -> Any:

        from skyward.spi import current_group

        group: Any = current_group()
        own = group.members[group.rank]
        if group.rank % 2:
            taken = socket.socket(fileno=group.listener().detach())
        else:
            group.listener().close()
            taken = socket.create_server((own.address, own.port))
        with taken, socket.create_connection((own.address, own.port), 60):
            taken.accept()[0].close()
            return True

    assert take() @ pool == (True,) * 4


def test_one_call_to_one_slot_is_a_group_of_one(pool: sky.ComputePool) -> None:
    @together
    def alone(x: int) -> Any:

        from skyward.spi import current_group

        group: Any = current_group()
        own = group.members[0]
        with socket.create_connection((own.address, own.port), 60):
            group.listener().accept()[0].close()
        return x, group.size, group.rank, (own.node, own.worker), (sky.instance_info().node, sky.instance_info().worker)

    for x, size, rank, member, place in [alone(1) >> pool, *(sky.gather(*map(alone, range(8))) >> pool)]:
        assert (size, rank) == (1, 0)
        assert member == place
        assert x in range(8)


def test_outside_of_a_group_there_is_none_and_what_is_kept_of_one_says_that_it_has_ended(
    pool: sky.ComputePool,
) -> None:
    @together
    def keep() -> None:
        import builtins

        from skyward.spi import current_group

        builtins.kept = current_group()  # type: ignore[attr-defined]

    @sky.compute
    def look() -> Any:
        import builtins

        from skyward.spi import current_group

        try:
            return current_group(), builtins.kept.listener()  # type: ignore[attr-defined]
        except RuntimeError as error:
            return current_group(), str(error)

    keep() @ pool
    group, said = look() >> pool
    assert group is None
    assert "has ended" in said
    assert current_group() is None


def test_data_is_divided_by_the_ranks_of_the_group(pool: sky.ComputePool) -> None:
    @together
    def parts() -> Any:
        return list(sky.shard(range(10))), list(sky.DistributedSampler(range(8), shuffle=False))

    results = parts() @ pool
    assert [part for part, _ in results] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert [part for _, part in results] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert parts() >> pool == (list(range(10)), list(range(8)))


def test_each_rank_has_its_events(pool: sky.ComputePool) -> None:
    started: list[sky.TaskStarted] = []
    completed: list[sky.TaskCompleted] = []
    ends = [pool.on(sky.TaskStarted, started.append), pool.on(sky.TaskCompleted, completed.append)]
    together(lambda: None)() @ pool
    for end in ends:
        end()
    every = [(node, slot) for node in (0, 1) for slot in (0, 1)]
    assert sorted((event.node, event.slot) for event in started) == every
    assert sorted((event.node, event.slot) for event in completed) == every


def test_groups_of_several_threads_do_not_wait_for_each_other_for_ever(pool: sky.ComputePool, meet: Any) -> None:
    @together
    def train(number: int) -> tuple[int, int]:
        return number, meet()

    single = sky.compute(abs)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(pool.broadcast, train(number)) for number in range(40)]
        others = [threads.submit(pool.broadcast, single(number)) for number in range(20)]
        singles = [pool.submit(single(number)) for number in range(100)]
        assert [call.result(PATIENCE) for call in calls] == [((number, 6),) * 4 for number in range(40)]
        assert [call.result(PATIENCE) for call in others] == [(number,) * 2 for number in range(20)]
        assert [call.result(PATIENCE) for call in singles] == list(range(100))


def test_cancelling_the_coroutine_stops_all_ranks(pool: sky.ComputePool, tmp_path: Path) -> None:
    @together
    def wait() -> None:
        import os

        try:
            (tmp_path / f"began{os.getpid()}").touch()
            time.sleep(1000)
        except KeyboardInterrupt:
            (tmp_path / f"stopped{os.getpid()}").touch()
            raise

    async def main() -> None:
        call = asyncio.create_task(pool.abroadcast(wait()))
        await asyncio.to_thread(until, lambda: len(list(tmp_path.glob("began*"))) == 4)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(await pool.abroadcast(together(os.getpid)())) == 4

    asyncio.run(main())
    assert len(list(tmp_path.glob("stopped*"))) == 4


def test_a_group_that_waits_for_a_slot_can_be_cancelled_and_holds_nobody_up_then(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    @sky.compute
    def hold() -> None:

        (tmp_path / "held").touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.001)

    completed: list[sky.TaskCompleted] = []

    async def main() -> None:
        held = pool.submit(hold())
        await asyncio.to_thread(until, lambda: (tmp_path / "held").exists())
        call = asyncio.create_task(pool.abroadcast(together(os.getpid)()))
        behind = asyncio.create_task(pool.arun(sky.compute(os.getpid)()))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await behind
        (tmp_path / "go").touch()
        await asyncio.wrap_future(held)

    end = pool.on(sky.TaskCompleted, completed.append)
    asyncio.run(main())
    end()
    until(lambda: len(completed) == 6)


def test_an_integration_of_the_pool_may_form_groups() -> None:
    def grouping(function: sky.ComputeFunction[..., Any]) -> sky.ComputeFunction[..., Any]:
        return sky.ComputeFunction(function.local, function.retry, together=True)

    @sky.compute
    def rank() -> tuple[int, int]:
        from skyward.spi import current_group

        group: Any = current_group()
        return group.rank, group.size

    with sky.ComputePool(concurrency=2, plugins=[grouping], display="quiet", lease=60.0) as pool:
        assert rank() @ pool == ((0, 2), (1, 2))
        assert rank() >> pool == (0, 1)


def test_a_group_that_runs_or_waits_when_the_pool_is_left_ends_with_the_reason() -> None:
    @together
    def wait() -> None:

        time.sleep(1000)

    errors: list[BaseException] = []

    def call(pool: sky.ComputePool) -> None:
        try:
            wait() @ pool
        except BaseException as error:
            errors.append(error)

    started = threading.Event()
    with sky.ComputePool(concurrency=2, display="quiet", lease=60.0) as pool:
        pool.on(sky.TaskStarted, lambda _: started.set())
        threads = [threading.Thread(target=call, args=(pool,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert started.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert [type(error) for error in errors] == [sky.UsageError] * 2


def test_a_node_that_has_no_port_fails_the_call_with_the_reason_and_serves_on(
    pool: sky.ComputePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    teams: Any = pool._engine.dispatcher.teams
    with monkeypatch.context() as patch:
        patch.setattr(teams, "addresses", lambda: {0: "127.0.0.1", 1: "1.2.3.4.5"})
        with pytest.raises(sky.TaskError, match=r"no port can be had for getpid: .+; see what uses them up") as caught:
            together(os.getpid)() @ pool
    assert caught.value.node == 1
    assert len(together(os.getpid)() @ pool) == 4
