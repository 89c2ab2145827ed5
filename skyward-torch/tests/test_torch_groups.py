"""Process groups on two local nodes: what a function finds, what is left behind, and how failures end them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward_torch import torch

pytestmark = pytest.mark.slow

PATIENCE = 300.0
"""Seconds that a test waits at most; importing torch alone takes a minute where everybody does."""


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


@pytest.fixture
def add() -> sky.ComputeFunction[[], Any]:
    """Adds up the ranks, of which each is one more than it is called; and tells its process."""

    @torch
    def add() -> tuple[float, int]:
        import os

        import torch
        import torch.distributed as dist

        total = torch.tensor([dist.get_rank() + 1.0])
        dist.all_reduce(total)
        return float(total), os.getpid()

    return add


@pytest.fixture
def look() -> sky.ComputeFunction[[], Any]:
    """What a function without a group finds in its slot."""

    @sky.compute
    def look() -> Any:
        import os

        import torch
        import torch.distributed as dist

        return dist.is_initialized(), torch.get_num_threads(), dict(os.environ)

    return look


def test_a_function_finds_its_group_and_the_next_one_finds_none_of_it(
    pool: sky.ComputePool, look: sky.ComputeFunction[[], Any]
) -> None:
    @torch(backend="gloo")
    @sky.compute
    def see(fail: bool) -> Any:
        import os

        import psutil
        import torch.distributed as dist

        from skyward.spi import current_group

        group: Any = current_group()
        names = "MASTER_ADDR", "WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK"
        listening = {each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == "LISTEN"}
        if not listening <= {group.head.address} or os.environ["MASTER_PORT"] != str(group.head.port):
            raise AssertionError(listening)
        if fail:
            raise LookupError(os.environ["RANK"])
        return [os.environ[name] for name in names], dist.get_backend(), dist.get_rank(), dist.get_world_size()

    before = look() @ pool
    assert [each[0] for each in before] == [False, False]
    assert see(fail=False) @ pool == tuple(
        (["127.0.0.1", "2", str(rank), "0", "1", str(rank)], "gloo", rank, 2) for rank in (0, 1)
    )
    assert look() @ pool == before
    with pytest.raises(LookupError):
        see(fail=True) @ pool
    assert look() @ pool == before
    assert see(fail=False) >> pool == (["127.0.0.1", "1", "0", "0", "1", "0"], "gloo", 0, 1)
    assert look() @ pool == before


def test_a_network_that_is_trained_together_learns_as_one_process_does(pool: sky.ComputePool, train: Any) -> None:
    together = torch(train)() @ pool
    alone = torch(train)() >> pool
    assert [each["backend"] for each in together] == ["gloo", "gloo"]
    assert together[0]["gradients"] == together[1]["gradients"]
    assert together[0]["weights"] == together[1]["weights"]
    assert together[0]["losses"] == together[1]["losses"] == pytest.approx(alone["losses"], rel=1e-3)
    assert sum(alone["losses"][-5:]) < sum(alone["losses"][:5]) / 3
    for first, second, whole in zip(together[0]["seen"], together[1]["seen"], alone["seen"], strict=True):
        assert [index for pair in zip(first, second, strict=True) for index in pair] == whole[: 2 * len(first)]
    assert together[0]["seen"][0] != together[0]["seen"][1], "each epoch has an order of its own"


def test_a_rank_that_fails_ends_the_others_at_once_and_the_next_call_runs_in_the_same_processes(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @torch
    def fail() -> None:
        import torch
        import torch.distributed as dist

        if dist.get_rank() == 1:
            raise ValueError("the cause")
        while True:
            dist.all_reduce(torch.ones(1000))

    before = add() @ pool
    with pytest.raises(ValueError, match="the cause") as caught:
        fail() @ pool
    (note,) = [each for each in caught.value.__notes__ if each.startswith("this ended")]
    assert note.startswith("this ended rank 1 (node 1, slot 0) of the 2 of fail; of the others, rank 0 ")
    # It is told to stop while it finds out by itself.
    assert any(each in note for each in ("closed by peer", "reset by peer", "rank 0 was stopped")), note
    assert add() @ pool == before, "nobody had to be killed"


def test_a_rank_that_hangs_ends_the_call_by_the_time_limit_of_the_others(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @torch(timeout=5)  # which is the limit of the rendezvous, too
    def hang() -> None:
        import time

        import torch.distributed as dist

        if dist.get_rank() == 1:
            time.sleep(1000)
        dist.barrier()

    with pytest.raises(RuntimeError, match=r"(?i)timed out") as caught:
        hang() @ pool
    assert "rank 1 was stopped" in "".join(caught.value.__notes__)
    assert [total for total, _ in add() @ pool] == [3.0, 3.0]


def test_a_call_that_is_cancelled_in_the_middle_of_an_operation_leaves_a_pool_that_serves(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any], tmp_path: Path
) -> None:
    @torch
    def wait() -> None:
        import time

        import torch.distributed as dist

        (tmp_path / str(dist.get_rank())).touch()
        if dist.get_rank() == 1:
            time.sleep(1000)
        dist.barrier()

    async def main() -> None:
        call = asyncio.create_task(pool.abroadcast(wait()))
        await asyncio.to_thread(until, lambda: len(list(tmp_path.iterdir())) == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert [total for total, _ in await pool.abroadcast(add())] == [3.0, 3.0]

    asyncio.run(main())


def test_a_rank_that_is_through_waits_for_those_that_still_need_it_and_says_so(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    @torch
    def late() -> float:
        import time

        import torch
        import torch.distributed as dist

        from skyward_torch import _meeting

        total = torch.tensor([dist.get_rank() + 1.0])
        work = dist.all_reduce(total, async_op=True)
        if dist.get_rank() == 0:
            _meeting._LATE = 0.0
            return 0.0  # the head, which has the store
        while not (tmp_path / "said").exists():
            time.sleep(0.01)
        work.wait()
        dist.new_group([1])  # which asks the store
        return float(total)

    def heard(event: sky.LogLine) -> None:
        if "rank 0 has returned from late and waits for rank 1" in event.line:
            (tmp_path / "said").touch()

    remove = pool.on(sky.LogLine, heard)
    assert late() @ pool == (0.0, 3.0)
    remove()


def test_a_function_may_destroy_its_process_group_as_under_torchrun(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @torch
    def destroy() -> float:
        import torch
        import torch.distributed as dist

        total = torch.tensor([dist.get_rank() + 1.0])
        dist.all_reduce(total)
        dist.destroy_process_group()
        return float(total)

    before = add() @ pool
    assert destroy() @ pool == (3.0, 3.0)
    assert destroy() >> pool == 1.0
    assert add() @ pool == before


def test_a_function_may_make_another_process_group_from_the_variables_as_under_torchrun(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @torch
    def anew() -> float:
        import torch
        import torch.distributed as dist

        dist.destroy_process_group()
        dist.init_process_group("gloo")
        total = torch.tensor([dist.get_rank() + 1.0])
        dist.all_reduce(total)
        return float(total)

    before = add() @ pool
    assert anew() @ pool == (3.0, 3.0)
    assert anew() >> pool == 1.0
    assert add() @ pool == before


def test_a_group_that_fails_while_it_is_made_leaves_a_pool_that_serves(pool: sky.ComputePool, add: Any) -> None:
    @torch
    def make() -> None:
        import os

        import torch.distributed as dist

        dist.destroy_process_group()
        if int(os.environ["RANK"]) == 0:  # the others are clean, and would give the next group another name
            dist.init_process_group("gloo", init_method="file:///no/such/folder/store")

    with pytest.raises(Exception):  # noqa: B017  torch's own, whichever it is
        make() @ pool
    assert [total for total, _ in add() @ pool] == [3.0, 3.0]


def test_a_process_in_which_somebody_left_a_process_group_behind_is_renewed_for_the_next_one(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @sky.compute
    def leave() -> None:
        import torch.distributed as dist

        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)

    before = add() @ pool
    leave() @ pool
    after = add() @ pool
    assert [total for total, _ in after] == [3.0, 3.0]
    assert not {process for _, process in before} & {process for _, process in after}


def test_nccl_without_gpus_is_refused_on_the_nodes_with_their_names(pool: sky.ComputePool) -> None:
    @torch(backend="nccl")
    def run() -> None: ...

    with pytest.raises(sky.ConfigurationError, match=r"node 0 has none for 1, node 1 has none for 1: .*backend='gloo'"):
        run() @ pool


def test_the_sampler_divides_as_torchs_own(pool: sky.ComputePool) -> None:
    @sky.compute
    def divided(size: int, replicas: int, drop_last: bool) -> Any:
        """For both samplers: the shards in order, and for two epochs how often each index comes, and each length."""
        from torch.utils.data import DataLoader, DistributedSampler

        import skyward as sky

        def draw(kind: Any, epoch: int, shuffle: bool) -> list[list[int]]:
            shards = []
            for rank in range(replicas):
                sampler = kind(range(size), replicas, rank, shuffle, 5, drop_last)
                sampler.set_epoch(epoch)
                shards.append([int(batch) for batch in DataLoader(range(size), sampler=sampler)])
                shards[-1].append(len(sampler))
            return shards

        return [
            (draw(kind, 0, False), draw(kind, 0, True), draw(kind, 3, True))
            for kind in (sky.DistributedSampler, DistributedSampler)
        ]

    calls = [(size, replicas, drop) for size in (1, 5, 16, 97) for replicas in (1, 2, 3, 7) for drop in (False, True)]
    results = sky.gather(*(divided(*call) for call in calls)) >> pool
    for (size, _, drop), (mine, theirs) in zip(calls, results, strict=True):
        assert mine[0] == theirs[0]
        for ours, torchs in zip(mine[1:], theirs[1:], strict=True):
            assert [shard[-1] for shard in ours] == [len(shard) - 1 for shard in ours]
            assert [shard[-1] for shard in ours] == [shard[-1] for shard in torchs]
            has, should = (Counter(index for shard in shards for index in shard[:-1]) for shards in (ours, torchs))
            assert sorted(has.values()) == sorted(should.values())
            assert drop or set(has) == set(range(size)), "the union of the shards is the data set"
        assert size < 16 or mine[1] != mine[2], "each epoch has an order of its own"


def test_a_process_that_dies_has_the_whole_group_run_again(pool: sky.ComputePool, tmp_path: Path) -> None:
    @torch
    @sky.compute(retry=1)
    def die() -> tuple[int, str]:
        import os
        import signal

        import torch.distributed as dist

        again = (tmp_path / "died").exists()
        dist.barrier()
        if not again and dist.get_rank() == 1:
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()
        return dist.get_world_size(), os.environ["MASTER_PORT"]

    first, second = die() @ pool
    assert first == second
    assert first[0] == 2
    assert (tmp_path / "died").exists()


def test_a_node_that_is_lost_in_the_middle_is_named_and_the_next_call_has_a_whole_pool(
    pool: sky.ComputePool, add: sky.ComputeFunction[[], Any]
) -> None:
    @torch
    def lose() -> None:
        import signal

        import torch
        import torch.distributed as dist

        dist.barrier()
        if dist.get_rank() == 1:
            os.kill(os.getppid(), signal.SIGKILL)
        while True:
            dist.all_reduce(torch.ones(1000))

    with pytest.raises(sky.NodeLost, match=r"node 1 .*was lost while it ran lose together") as caught:
        lose() @ pool
    assert caught.value.node == 1
    assert [total for total, _ in add() @ pool] == [3.0, 3.0]
