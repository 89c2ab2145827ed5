"""Where the running task stands in its cluster.

A slot process sets ``current`` once it knows its place, and ``task_id`` before each task. On the client ``current``
stays ``None``. ``skyward.instance_info``, ``skyward.shard`` and ``skyward.DistributedSampler`` read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["ClusterContext", "current", "emit", "set_current"]


class ClusterContext:
    """One slot's place in its pool; all indices count from 0.

    ``node`` of ``total_nodes``; ``worker`` is the slot's index among the ``workers_per_node`` slots of its node.
    ``head_addr`` and ``head_port`` are where node 0 can be met by the other nodes (what ``MASTER_ADDR`` and
    ``MASTER_PORT`` are to torch); ``job_id`` is the same on every node of a pool and differs between pools.
    ``accelerators`` names one device per entry, such as ``["A100", "A100"]``. ``task_id`` is the task that runs now,
    ``None`` between tasks.
    """

    __slots__ = (
        "accelerators",
        "head_addr",
        "head_port",
        "job_id",
        "node",
        "task_id",
        "total_nodes",
        "worker",
        "workers_per_node",
    )

    def __init__(
        self,
        *,
        node: int,
        total_nodes: int,
        head_addr: str = "127.0.0.1",
        head_port: int = 0,
        job_id: str = "",
        worker: int = 0,
        workers_per_node: int = 1,
        accelerators: Iterable[str] = (),
        task_id: int | None = None,
    ) -> None:
        self.node = node
        self.total_nodes = total_nodes
        self.head_addr = head_addr
        self.head_port = head_port
        self.job_id = job_id
        self.worker = worker
        self.workers_per_node = workers_per_node
        self.accelerators = list(accelerators)
        self.task_id = task_id


current: ClusterContext | None = None
"""The slot's context; ``None`` in a process that is not a slot."""

emit: Callable[[object], None] | None = None
"""Sends an event to the client; ``None`` in a process that is not a slot."""


def set_current(context: ClusterContext | None) -> None:
    """Make ``context`` what this process's tasks see; ``None`` takes it away."""
    global current
    current = context
