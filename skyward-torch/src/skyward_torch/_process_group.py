"""On a node: torch's process group for the time of one call. This module is imported there alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any

from skyward.spi import (
    Group,
    current_group,
    environ_with,
    listening_variables,
    not_on_this_node,
    uninterrupted,
)
from skyward_torch._binding import counted
from skyward_torch._devices import Place, agreed_backend, demand_builds, place_of
from skyward_torch._meeting import Meeting

__all__ = ["process_group", "variables"]


@contextmanager
def process_group(
    backend: str | None = None, timeout: float | None = None, name: str = "the function"
) -> Iterator[None]:
    """Join the process group of the running call; leave it at the end of the block, however it ends.

    It does nothing in a function that runs by itself.

    Args:
        backend: ``"nccl"``, ``"gloo"``, or ``None`` for what all nodes have.
        timeout: seconds that a collective operation may take; ``None`` for torch's own limit.
        name: the function's, for what is said of it.

    Raises:
        ModuleNotFoundError: torch is not installed.
        RuntimeError: something else has left a process group behind in this process.
        ConfigurationError: the nodes do not have the GPUs, or their torch cannot use them.
        ConnectionError: the first rank cannot be reached.
        TimeoutError: another rank did not come.
    """
    group = current_group()
    if group is None:
        yield
        return
    torch = _imported()
    if backend != "gloo":
        demand_builds(torch)
    place = place_of(torch, group)
    with ExitStack() as after:
        after.enter_context(environ_with(variables(group)))
        after.enter_context(_own_part(torch, group, place))
        after.enter_context(_member(torch, Meeting(torch.distributed, group, name), place, backend, timeout))
        yield


def _imported() -> Any:
    try:
        import torch
        import torch.distributed as dist
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        raise not_on_this_node("torch", "torch") from None
    if not dist.is_available():
        raise RuntimeError("torch is built without torch.distributed on this node: install a build that has it")
    if dist.is_initialized():
        raise RuntimeError(
            "this process has a process group already, which another function has left behind: "
            "call torch.distributed.destroy_process_group() where it was made"
        )
    return torch


def variables(group: Group) -> dict[str, str | None]:
    """The environment of a rank: what torch's own launcher sets, and the interface at which to listen.

    An interface that the pool's ``env`` names stands.
    """
    nodes = list(dict.fromkeys(member.node for member in group.members))
    found: dict[str, str | None] = {
        "MASTER_ADDR": group.head.address,
        "MASTER_PORT": str(group.head.port),
        "WORLD_SIZE": str(group.size),
        "RANK": str(group.rank),
        "LOCAL_RANK": str(group.local_rank),
        "LOCAL_WORLD_SIZE": str(group.local_size),
        "NODE_RANK": str(nodes.index(group.members[group.rank].node)),
        # Who destroys the group and makes one from these variables uses the store that is there, as under torchrun,
        # instead of failing to listen at its port.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    found.update(listening_variables(group.members[group.rank].address, gloo=True, nccl=True))
    return found


@contextmanager
def _own_part(torch: Any, group: Group, place: Place) -> Iterator[None]:
    """Use this rank's GPU, and this rank's share of the cores, inside the block."""
    threads = torch.get_num_threads()
    shared = group.local_size > 1 and "OMP_NUM_THREADS" not in os.environ
    device = torch.cuda.current_device() if place.device is not None else None
    try:
        if shared:
            torch.set_num_threads(max(1, threads // group.local_size))
        if place.device is not None:
            torch.cuda.set_device(place.device)
        yield
    finally:
        with uninterrupted():
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            if device is not None:
                torch.cuda.set_device(device)


@contextmanager
def _member(torch: Any, meeting: Meeting, place: Place, backend: str | None, timeout: float | None) -> Iterator[None]:
    """Be a rank of the process group inside the block."""
    dist, group = torch.distributed, meeting.group
    try:
        chosen = agreed_backend(backend, meeting.told_by_all(place))
        limit = {} if timeout is None else {"timeout": timedelta(seconds=timeout)}
        dist.init_process_group(chosen, store=meeting.store("group"), rank=group.rank, world_size=group.size, **limit)
        yield
        meeting.all_are_through()
        with uninterrupted():
            if dist.is_initialized():  # many functions end as under torchrun, where it is theirs to destroy
                dist.destroy_process_group()
        meeting.part()
    finally:
        # After a failure at once: the others notice it by that, in the middle of whatever they do. And to the end: half
        # a process group can be neither used nor destroyed.
        with uninterrupted():
            with suppress(Exception):
                _abandon(dist)
            meeting.close()


def _abandon(dist: Any) -> None:
    """End a process group of which some ranks may be gone, or be waiting for this one."""
    if not dist.is_initialized():
        if counted(dist):  # it was being made; the next one is to have the name that the other ranks give it
            dist.distributed_c10d._world.group_count = 0
        return
    abort = getattr(dist.distributed_c10d, "_abort_process_group", None)
    if abort is not None and dist.get_backend() == "nccl":  # whose destruction would wait for the others
        abort()
    else:
        dist.destroy_process_group()
