"""Groups of four nodes, of several ranks on a node, and of containers."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks import BASE, linked

import skyward as sky
from skyward_torch import torch

pytestmark = pytest.mark.slow


def check(results: Any, size: int) -> None:
    """All ranks have done the same, and learnt from all of the data."""
    assert len(results) == size
    assert all(each["gradients"] == results[0]["gradients"] for each in results)
    assert all(each["weights"] == results[0]["weights"] for each in results)
    losses = results[0]["losses"]
    assert sum(losses[-5:]) < sum(losses[:5]) / 3
    for epoch in zip(*(each["seen"] for each in results), strict=True):
        indices = [index for shard in epoch for index in shard]
        assert len(indices) == len(set(indices)) == results[0]["size"] // size * size


def test_four_nodes_learn_as_one_process_does(train: Any) -> None:
    plugin = torch(wheels="pypi")
    bare = sky.Image(pip=["scikit-learn"])  # the integration brings what else is needed
    with sky.ComputePool(nodes=4, image=bare, plugins=[plugin], display="quiet", lease=60.0) as pool:
        function = sky.compute(train)
        together = function() @ pool
        alone = function() >> pool
    check(together, 4)
    assert together[0]["losses"] == pytest.approx(alone["losses"], rel=1e-3)


def test_a_node_has_as_many_ranks_as_it_runs_functions(train: Any, image: sky.Image) -> None:
    @sky.compute
    def see() -> Any:
        import os

        import torch

        names = "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "WORLD_SIZE"
        return [int(os.environ[name]) for name in names], torch.get_num_threads()

    @sky.compute
    def threads() -> Any:
        import torch

        return torch.get_num_threads()

    # As a plugin and as a decorator at once it makes one group.
    with sky.ComputePool(
        concurrency=2, image=image, plugins=[torch(wheels="pypi")], display="quiet", lease=60.0
    ) as pool:
        whole = see() >> pool
        assert whole[0] == [0, 0, 1, 0, 1]
        share = max(1, whole[1] // 2)
        assert see() @ pool == (([0, 0, 2, 0, 2], share), ([1, 1, 2, 0, 2], share))
        assert (threads() >> pool) == whole[1]
        check(torch(train)() @ pool, 2)


@pytest.mark.containers
def test_containers_train_over_their_own_network(engine: str, train: Any, image: sky.Image) -> None:
    from skyward_container import Container

    @torch
    def addresses() -> Any:
        import os

        import psutil

        listening = {each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == "LISTEN"}
        return os.environ["MASTER_ADDR"], os.environ["GLOO_SOCKET_IFNAME"], sorted(listening)

    provider = Container(image=BASE, binary=engine)
    with sky.ComputePool(provider, nodes=2, image=linked(image), display="quiet") as pool:
        together = torch(train)() @ pool
        check(together, 2)
        assert together[0]["losses"] == pytest.approx((torch(train)() >> pool)["losses"], rel=1e-3)
        first, second = addresses() @ pool
        assert first[0] == second[0] != "127.0.0.1"
        assert "lo" not in (first[1], second[1])
        assert "127.0.0.1" not in {*first[2], *second[2]}
        assert "0.0.0.0" not in {*first[2], *second[2]}
