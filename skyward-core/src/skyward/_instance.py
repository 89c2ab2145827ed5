"""What a running task asks about its place: ``instance_info`` and ``current_accelerator``."""

from __future__ import annotations

from skyward.errors import UsageError
from skyward.model.cluster import InstanceInfo
from skyward.worker import context
from skyward.worker.group import rank_in_group

__all__ = ["current_accelerator", "instance_info", "world"]


def instance_info() -> InstanceInfo:
    """Where the running task stands in its pool.

    Raises ``UsageError`` in a process that is not part of a pool, such as the client.
    """
    here = context.current
    if here is None:
        raise UsageError(
            "instance_info() has nothing to tell here: this process is not a node of a pool; "
            "call it inside a function that is dispatched, `f() >> pool` or `f() @ pool`, and not by f.local()"
        )
    return InstanceInfo(
        node=here.node,
        total_nodes=here.total_nodes,
        accelerators=list(here.accelerators),
        head_addr=here.head_addr,
        head_port=here.head_port,
        job_id=here.job_id,
        worker=here.worker,
        workers_per_node=here.workers_per_node,
    )


def current_accelerator() -> str | None:
    """The name of the accelerator that the running task has, such as ``"A100"``; of the first if it has several.

    ``None`` where there is none: on a node without accelerators, and in a process that is not part of a pool.
    """
    here = context.current
    return here.accelerators[0] if here is not None and here.accelerators else None


def world() -> tuple[int, int]:
    """This node's rank and the number of nodes: what data is divided by, for ``@`` runs a call once on every node.

    In a function that runs together with others, its rank among them and their number. ``(0, 1)`` in a process that is
    not part of a pool, so that ``f.local()`` works on all of the data.
    """
    if (place := rank_in_group()) is not None:
        return place
    here = context.current
    return (0, 1) if here is None else (here.node, here.total_nodes)
