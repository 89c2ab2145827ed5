"""What a task can ask about its place."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import attrs
import pytest

from skyward._instance import current_accelerator, instance_info, world
from skyward.errors import UsageError
from skyward.model.cluster import InstanceInfo
from skyward.worker import context


@pytest.fixture
def node() -> Iterator[context.ClusterContext]:
    """This process as slot 1 of 2 of node 2 of 4."""
    here = context.ClusterContext(
        node=2,
        total_nodes=4,
        head_addr="10.0.0.5",
        head_port=29500,
        job_id="job",
        worker=1,
        workers_per_node=2,
        accelerators=("A100", "A100"),
    )
    context.set_current(here)
    yield here
    context.set_current(None)


def test_a_task_learns_its_place(node: context.ClusterContext) -> None:
    info = instance_info()
    assert attrs.asdict(info) == {
        "node": 2,
        "total_nodes": 4,
        "is_head": False,
        "accelerators": ["A100", "A100"],
        "head_addr": "10.0.0.5",
        "head_port": 29500,
        "job_id": "job",
        "worker": 1,
        "workers_per_node": 2,
    }
    assert world() == (2, 4)
    assert current_accelerator() == "A100"


def test_node_0_is_the_head(node: context.ClusterContext) -> None:
    node.node = 0
    assert instance_info().is_head


def test_changing_what_was_told_changes_nothing_for_others(node: context.ClusterContext) -> None:
    instance_info().accelerators.clear()
    assert instance_info().accelerators == ["A100", "A100"]


def test_a_node_without_accelerators_has_no_current_one(node: context.ClusterContext) -> None:
    node.accelerators = []
    assert current_accelerator() is None


def test_the_info_travels_and_cannot_be_changed(node: context.ClusterContext) -> None:
    info = instance_info()
    assert pickle.loads(pickle.dumps(info)) == info
    assert hash(info) == hash(instance_info())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        info.node = 1  # type: ignore[misc]


def test_outside_a_pool_there_is_no_info_and_the_error_says_where_there_is() -> None:
    with pytest.raises(UsageError, match=r"not a node of a pool; call it inside a function that is dispatched"):
        instance_info()
    assert current_accelerator() is None
    assert world() == (0, 1)


def test_only_what_every_task_has_is_required() -> None:
    assert InstanceInfo(node=0, total_nodes=1).accelerators == []
