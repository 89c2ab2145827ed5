"""How many threads native libraries may use in a slot, so that the slots of a node do not fight for its cores."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Any

from attrs import frozen

__all__ = ["VARIABLES", "Limits", "limit", "settings"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""What native libraries read when they are loaded; those that joblib sets for its own workers."""
_CORES = "LOKY_MAX_CPU_COUNT"  # what joblib.cpu_count() reports at most, and so what n_jobs=-1 means inside a task
_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Where Linux says how much of the cores' time a container has, in microseconds of a period: new and old."""


@frozen
class Limits:
    """Who wants how many threads.

    ``inner`` is ``inner_max_num_threads``, which goes before all else. ``client`` holds the client's own variables:
    they go behind what the slot's environment says, that is the pool's ``env``, and before the slot's share.
    """

    inner: int | None = None
    client: tuple[tuple[str, str], ...] = ()

    @classmethod
    def here(cls, inner: int | None = None) -> Limits:
        """Those of this process, the client. Raises ``ValueError`` for an ``inner`` that is no number of threads."""
        given: Any = inner
        if given is not None and not (isinstance(given, Integral) and int(given) >= 1):
            raise ValueError(f"inner_max_num_threads is {inner!r}: give a number of threads, 1 or more")
        return cls(inner, tuple((name, os.environ[name]) for name in VARIABLES if name in os.environ))


def settings(limits: Limits, own: Mapping[str, str], share: int) -> dict[str, str]:
    """The variables of a slot whose environment is ``own``, and whose share of the node's cores is ``share``."""
    client = dict(limits.client)
    found = {
        name: str(limits.inner) if limits.inner is not None else own.get(name) or client.get(name) or str(share)
        for name in VARIABLES
    }
    # Threads of Intel's TBB in several processes then know of each other.
    return found | {"ENABLE_IPC": own.get("ENABLE_IPC", "1"), _CORES: own.get(_CORES, str(share))}


_own: dict[str, str] | None = None
_share = 1
_present: Limits | None = None


def limit(limits: Limits) -> None:
    """Put limits in force in this slot, for what is loaded and for what will be. They stay until others come."""
    global _own, _share, _present
    if limits == _present:
        return
    if _own is None:
        _own = {name: os.environ[name] for name in (*VARIABLES, "ENABLE_IPC", _CORES) if name in os.environ}
        _share = max(1, _cores() // _slots())
    found = settings(limits, _own, _share)
    os.environ.update(found)
    _limit_loaded(found)
    _present = limits


def _cores() -> int:
    """The cores that this machine lets us use, and a container's share of its time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for path in _QUOTAS:
        with suppress(OSError, ValueError):
            words = [word for each in path for word in Path(each).read_text().split()]
            quota, period = map(int, words)  # no number where there is no limit
            if quota > 0:
                return min(cores, math.ceil(quota / period))
    return cores


def _slots() -> int:
    """The slots that this machine is shared by: the node's, or those of all nodes where they are on one machine."""
    import skyward

    here = skyward.instance_info()
    together = here.head_addr.startswith("127.")  # which only nodes on the same machine could reach
    return here.workers_per_node * (here.total_nodes if together else 1)


def _limit_loaded(found: Mapping[str, str]) -> None:
    """Limit the libraries that were loaded before the variables were set."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # a node that joblib alone was installed on; what is loaded from now on reads the variables
        return
    numbers = {"openmp": found["OMP_NUM_THREADS"], "blas": found["OPENBLAS_NUM_THREADS"]}
    threadpool_limits({api: int(number) for api, number in numbers.items() if number.isdecimal()})
