"""What a test has left behind: pools that it entered and did not leave, and machines. Found, named, and ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward._engine import Engine
    from skyward._local_processes import Mark
    from skyward.testing._backend import Backend

__all__ = ["Watch", "closing", "made", "no_machines_left", "shared"]

_VARIABLE = "SKYWARD_WATCHED_BY"
"""Environment variable with the names of the watches that run. Every process that is started inherits it, so that the
nodes of a script that a test has started are found as well, and those of other test runs on this machine are not."""

_running: list[Watch] = []

_PATIENCE = 2.0
"""Seconds that a local node may take to end itself before it is killed."""

shared: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Pools that are meant to outlive the test that happened to open them."""


def made(cloud: Backend) -> None:
    """A fake cloud has been made; what is left in it is found even if nobody else holds on to it."""
    for watch in _running:
        watch.clouds.append(cloud)


def closing(cloud: Backend) -> None:
    """A fake cloud is being closed: whatever is left in it is left behind, and no pool shall replace it."""
    for watch in reversed(_running):
        watch.close(cloud)


@contextlib.contextmanager
def no_machines_left() -> Iterator[None]:
    """Make sure that a block, or a function that this decorates, leaves no machine and no open pool behind.

    It looks for pools that were entered and not left, for local nodes, also of programs that the block has started,
    and for machines of every ``FakeCloud``. What was there before the block is none of its concern. What it finds is
    ended.

    Raises:
        AssertionError: naming each; where the block raised something itself, that has it as a note instead.
    """
    watch = Watch()
    watch.begin()
    try:
        yield
    except BaseException as error:
        if left := watch.end():
            error.add_note(left)
        raise
    if left := watch.end():
        raise AssertionError(left)


class Watch:
    """Notes what is there at ``begin``; ``end`` tells what has come since and is there still, and ends it."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(4)

    def begin(self) -> None:
        """Start; ``end`` must follow, with no other watch begun in between that is not ended."""
        self._around = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = self._name if self._around is None else f"{self._around} {self._name}"
        self._pools_before = set(_open_pools())
        known = sys.modules.get("skyward.testing._provider")
        self.clouds: list[Backend] = [] if known is None else list(known.clouds.values())
        self._machines_before = {record for cloud in self.clouds for record in cloud.records.values()}
        self._found: list[str] = []
        _running.append(self)

    def close(self, cloud: Backend) -> None:
        """End what is left in a fake cloud now, and tell of it at the end."""
        on_it = [pool for pool in self._pools() if any(_cloud_of(each) is cloud for each in pool._options.providers)]
        self._end(on_it, [cloud])

    def end(self) -> str:
        """What was left, in words; empty where nothing was."""
        _running.remove(self)
        if self._around is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = self._around
        self._end(self._pools(), self.clouds)
        self._found += _end_nodes(self._name, self._others())
        if not self._found:
            return ""
        lines = "\n".join(f"  - {line}" for line in self._found)
        return (
            f"left behind, and ended now:\n{lines}\nleave the block of each pool before the test ends, or open the "
            "pool in a fixture of a wider scope"
        )

    def _pools(self) -> list[Engine]:
        """The open pools that were not there before."""
        return [engine for engine in _open_pools() if engine not in self._pools_before and engine not in shared]

    def _others(self) -> set[str]:
        """The ids of the pools that may stay."""
        return {_pool_id(engine) for engine in (*self._pools_before, *shared)}

    def _end(self, pools: Sequence[Engine], clouds: Sequence[Backend]) -> None:
        """End pools, then what else there is in fake clouds, and note what it was."""
        self._found += [_end_pool(engine) for engine in pools]
        others = self._others()
        for cloud in clouds:
            cloud.expire()
            for record in cloud.living():
                if record not in self._machines_before and record.pool_id not in others:
                    self._found.append(f"the machine {record.id} of {cloud.name}, bought by the pool {record.pool_id}")
                    cloud.terminate([record.id])
                    record.body.clear()


def _cloud_of(provider: object) -> object:
    """The inside of the fake cloud that a provider is of; ``None`` for any other provider."""
    return getattr(provider, "_backend", None)


def _open_pools() -> list[Engine]:
    """The pools of this process that are entered; none where nothing has loaded what makes them."""
    module = sys.modules.get("skyward._engine")
    return [] if module is None else [each for each in list(module._open) if each.state in ("being entered", "active")]


def _pool_id(engine: Engine) -> str:
    return "" if engine._made_road is None else engine._made_road.pool_id


def _end_pool(engine: Engine) -> str:
    """End a pool and say which it was."""
    from skyward import _current

    sellers = " or ".join(provider.name for provider in engine._options.providers)
    machines = ", ".join(engine.remaining) or "none yet"
    said = (
        f"the pool {_pool_id(engine)} of {engine.node_count} node(s) on {sellers}, entered and not left; its machines: "
        f"{machines}"
    )
    for pool in _current.entered():
        if getattr(pool, "_engine", None) is engine:
            _current.leave(pool)  # or it would be the current one of the tests to come
    return said + _failure(engine.leave if engine.is_active else engine.abort)


def _failure(end: Callable[[], object]) -> str:
    try:
        end()
    except Exception as error:  # noqa: BLE001  whatever it is, all that was left must be named
        return f" (ending it failed: {type(error).__name__}: {error})"
    return ""


def _end_nodes(watch: str, others: set[str]) -> list[str]:
    """End what was started under a watch and belongs to local nodes of no pool in ``others``, and say what it was."""
    from skyward import _local_processes

    found = []
    for mark in _local_processes.find(None):
        if mark.pool_id not in others and any(watch in _watches(pid) for pid in mark.pids):
            found.append(f"the local node {mark.name}: {len(mark.pids)} process(es)")
            _kill(mark)
    return found


def _watches(pid: int) -> list[str]:
    """The watches under which a process was started."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).environ().get(_VARIABLE, "").split()
    return []


def _kill(mark: Mark) -> None:
    """End a node's processes: in order, so that it removes its folder, then by force."""
    from skyward._local_processes import find

    for number in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + _PATIENCE
        for pid in mark.pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        while find(mark.pool_id, {mark.name}):  # nothing announces it: they may be children of a program that is gone
            if time.monotonic() > limit:
                break
            time.sleep(0.005)
