"""On a node: the cluster that a process belongs to. It is one for the life of the process; TensorFlow knows no other.

TensorFlow joins its cluster where the first strategy is made, and cannot leave it again. The next call goes on in it if
its workers are the same processes and none has failed; core sees to that by ``bound_to``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from skyward.spi import Group

__all__ = ["Cluster", "bound_to", "current"]

_KEYS = 1_000_000
"""Collective operations that a call may have. They are numbered from the beginning by each strategy, and no number may
come twice in the life of a cluster."""


class Cluster:
    """A cluster as its first call has found it.

    Attributes:
        call: that call's name.
        size: number of workers.
        whole: whether every call so far has ended well here; ``False`` while one runs.
    """

    def __init__(self, group: Group) -> None:
        self.call = group.call
        self.size = group.size
        self.whole = True
        self._addresses = [f"{_bracketed(member.address)}:{member.port}" for member in group.members]
        self._rank = group.rank
        self._calls = 0

    @property
    def config(self) -> str:
        """What ``TF_CONFIG`` says of it."""
        task = {"type": "worker", "index": self._rank}
        return json.dumps({"cluster": {"worker": self._addresses}, "task": task})

    def keys(self) -> int:
        """The number with which the next call's collective operations begin: the same for all workers."""
        self._calls += 1
        return (self._calls - 1) * _KEYS % (1 << 31)


_cluster: Cluster | None = None


def current(group: Group) -> Cluster:
    """The cluster for a call: the one that this process is in, or a new one of this group."""
    global _cluster
    if _cluster is None or not _is_used():
        _cluster = Cluster(group)
    return _cluster


def bound_to(size: int) -> str | None:
    """What this process can be a worker of, for core: see ``bound_to`` of functions that run together."""
    if not _is_used():
        return ""
    if _cluster is None or _cluster.size != size or not _is_joined():
        return None
    return _cluster.call if _cluster.whole or size == 1 else None


def _context() -> Any:
    """TensorFlow's context, ``None`` if there is none yet."""
    return getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)


def _is_used() -> bool:
    """Whether TensorFlow has begun its work in this process: from then on it takes no other cluster."""
    return bool(getattr(_context(), "_initialized", False))


def _is_joined() -> bool:
    """Whether it has joined a cluster; else it can do so no more."""
    return getattr(_context(), "_collective_ops_server_def", None) is not None


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
