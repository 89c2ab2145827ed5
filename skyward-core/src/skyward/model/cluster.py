"""What a task can know of the pool that runs it."""

from __future__ import annotations

import attrs

__all__ = ["InstanceInfo"]


def _is_head(info: InstanceInfo) -> bool:
    return info.node == 0


@attrs.frozen(kw_only=True)
class InstanceInfo:
    """Where a task runs. Indices count from 0.

    ``node`` is the machine's index among ``total_nodes``, and ``is_head`` whether it is node 0. ``accelerators`` names
    the node's devices, one entry each; it is empty on a node without any. ``head_addr`` and ``head_port`` are where the
    nodes of a pool can meet: the address of node 0 as the others reach it, and a port there that is kept free.
    ``job_id`` is equal on all nodes of a pool and differs between pools. ``worker`` is the index of the process that
    runs the task among the ``workers_per_node`` processes of its node (the pool's ``concurrency``).
    """

    node: int
    total_nodes: int
    is_head: bool = attrs.field(init=False, default=attrs.Factory(_is_head, takes_self=True))
    accelerators: list[str] = attrs.field(factory=list, hash=False)
    head_addr: str = "127.0.0.1"
    head_port: int = 0
    job_id: str = ""
    worker: int = 0
    workers_per_node: int = 1
