"""What is known of a pool at this moment, put together from its events. No output happens here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from attrs import define, evolve, field

from skyward._display.text import count, duration, money
from skyward.model import events as ev

__all__ = ["Board", "NodeRow"]


@define
class NodeRow:
    """One node. ``state`` is a word or two; ``metrics`` the last sample."""

    node: int
    state: str = "launching"
    running: int = 0
    done: int = 0
    failed: int = 0
    metrics: ev.Metrics | None = None


@define
class _Pool:
    rows: dict[int, NodeRow] = field(factory=dict)
    node_of: dict[str, int] = field(factory=dict)
    tasks: dict[int, int] = field(factory=dict)
    done: int = 0
    failed: int = 0
    cost: ev.CostUpdate | ev.CostFinal | None = None
    stage: str = "starting"


class Board:
    """Takes events from the thread of a bus and is read by the thread that draws. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._lock = threading.Lock()
        self._pool = _Pool()

    def feed(self, event: ev.SkywardEvent) -> None:
        """Take note of one event."""
        with self._lock:
            self._note(event)

    def rows(self) -> list[NodeRow]:
        """The nodes in their order, as copies."""
        with self._lock:
            rows = self._pool.rows
            return [evolve(rows[node]) for node in sorted(rows)]

    def status(self) -> str:
        """The line under the nodes while the pool lives."""
        with self._lock:
            pool = self._pool
            parts = [pool.stage, *self._tallies()]
            if pool.tasks:
                parts.insert(2, f"{len(pool.tasks)} running")
            if isinstance(pool.cost, ev.CostUpdate) and (pool.cost.hourly_rate or pool.cost.accumulated_cost):
                parts.append(f"{money(pool.cost.accumulated_cost)} at {money(pool.cost.hourly_rate)} an hour")
            return ", ".join(parts)

    def summary(self) -> str:
        """The one line that stays when all is over."""
        with self._lock:
            cost = self._pool.cost
            parts = [count(len(self._pool.rows), "node"), *self._tallies()]
            if isinstance(cost, ev.CostFinal) and (cost.total_cost or cost.savings_vs_ondemand):
                parts.append(money(cost.total_cost))
                if round(cost.savings_vs_ondemand, 4) > 0:
                    parts.append(f"{money(cost.savings_vs_ondemand)} less than on demand")
            elif isinstance(cost, ev.CostUpdate) and cost.accumulated_cost:
                parts.append(money(cost.accumulated_cost))
            return ", ".join(parts)

    def _tallies(self) -> list[str]:
        parts = [f"{count(self._pool.done, 'task')} done"]
        if self._pool.failed:
            parts.append(f"{self._pool.failed} failed")
        parts.append(duration(self._clock() - self._begin))
        return parts

    def _note(self, event: ev.SkywardEvent) -> None:  # noqa: C901, PLR0912 - a short case for each
        pool = self._pool
        match event:
            case ev.TaskStarted():
                self._leave(event.task_id)
                pool.tasks[event.task_id] = event.node
                self._row(event.node).running += 1
            case ev.TaskCompleted():
                self._leave(event.task_id)
                row = self._row(event.node)
                if event.succeeded:
                    row.done, pool.done = row.done + 1, pool.done + 1
                else:
                    row.failed, pool.failed = row.failed + 1, pool.failed + 1
            case ev.Metrics():
                self._row(event.node).metrics = event
            case ev.CostUpdate() | ev.CostFinal():
                pool.cost = event
            case ev.InstanceLaunched():
                self._state(event.instance_id, "launching", event.node)
            case ev.InstanceRunning():
                self._state(event.instance_id, "running", event.node)
            case ev.InstanceProvisioned():
                self._state(event.instance_id, "connected", event.node)
            case ev.BootstrapStarting():
                self._state(event.instance_id, "bootstrap")
            case ev.BootstrapPhase() if event.state == "started":
                self._state(event.instance_id, f"bootstrap: {event.step}")
            case ev.InstanceBootstrapped():
                self._state(event.instance_id, "bootstrapped")
            case ev.NodeReady():
                self._state(event.instance_id, "ready", event.node)
            case ev.InstancePreempted():
                self._state(event.instance_id, "lost", event.node)
            case ev.NodeReplaced():
                self._state(event.new_instance_id, "replaced", event.node)
            case ev.InstanceStopping():
                self._state(event.instance_id, "stopping")
            case _:
                pool.stage = _STAGES.get(type(event), pool.stage)

    def _row(self, node: int) -> NodeRow:
        row = self._pool.rows.get(node)
        if row is None:
            row = self._pool.rows[node] = NodeRow(node)
        return row

    def _state(self, instance_id: str, state: str, node: int | None = None) -> None:
        if node is not None:
            self._pool.node_of[instance_id] = node
        known = self._pool.node_of.get(instance_id)
        if known is not None:
            self._row(known).state = state

    def _leave(self, task_id: int) -> None:
        # A task that runs again after its node was lost starts twice and ends once.
        node = self._pool.tasks.pop(task_id, None)
        if node is not None:
            self._row(node).running -= 1


_STAGES: dict[type, str] = {
    ev.InfraCreating: "creating infrastructure",
    ev.InstanceLaunching: "launching",
    ev.ClusterReady: "ready",
    ev.PoolStopping: "stopping",
    ev.ClusterDestroyed: "ended",
}
