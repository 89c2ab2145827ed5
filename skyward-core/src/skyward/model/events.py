"""What a pool says about itself: one closed union of small frozen values.

In the order of a pool's life:

    InfraCreating, ClusterProvisioned,
    InstanceLaunching, InstanceLaunched, InstanceRunning, InstanceProvisioned,          for each machine
    BootstrapStarting, BootstrapPhase ..., InstanceBootstrapped, NodeReady,             for each machine
    ClusterReady,
    TaskStarted, TaskCompleted, Metrics, LogLine, CostUpdate,                           while it runs
    InstancePreempted, NodeReplaced, TimeoutApproaching, Error,                         when something happens
    PoolStopping, InstanceStopping, CostFinal, ClusterDestroyed

Unless a field says otherwise: ``node`` is the node's index, from 0; ``slot`` the index of the process on that node
that ran the task, from 0; ``instance_id`` the provider's name for the machine; prices are US dollars for an hour and
costs US dollars; durations are seconds; points in time are seconds since the epoch.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = [
    "EVENTS",
    "BootstrapCompleted",
    "BootstrapPhase",
    "BootstrapProgress",
    "BootstrapStarting",
    "ClusterDestroyed",
    "ClusterProvisioned",
    "ClusterReady",
    "CostFinal",
    "CostUpdate",
    "Error",
    "InfraCreated",
    "InfraCreating",
    "InstanceBootstrapped",
    "InstanceLaunched",
    "InstanceLaunching",
    "InstancePreempted",
    "InstanceProvisioned",
    "InstanceRunning",
    "InstanceStopping",
    "LogLine",
    "Metrics",
    "NodeReady",
    "NodeReplaced",
    "PoolStopping",
    "SkywardEvent",
    "TaskCompleted",
    "TaskStarted",
    "TimeoutApproaching",
]


@frozen
class InfraCreating:
    """What the machines need around them (keys, networks, directories) is being made."""


@frozen
class ClusterProvisioned:
    """The surroundings are there; ``region`` is where, in the provider's words. Also named ``InfraCreated``."""

    region: str


@frozen
class InstanceLaunching:
    """``count`` machines of ``instance_type`` are being asked of ``provider``, in ``region`` and on ``market``.

    ``price`` is that of each; ``None`` where the provider does not tell it.
    """

    count: int
    instance_type: str
    provider: str
    region: str = ""
    market: Literal["spot", "on-demand"] = "on-demand"
    price: float | None = None


@frozen
class InstanceLaunched:
    """The provider has accepted the request for one machine."""

    instance_id: str
    node: int
    provider: str


@frozen
class InstanceRunning:
    """The provider says that the machine runs; ``ip`` is ``None`` where it has no address of its own."""

    instance_id: str
    node: int
    ip: str | None = None


@frozen
class InstanceProvisioned:
    """The machine can be reached. A price is ``None`` where the provider does not tell it."""

    instance_id: str
    node: int
    spot: bool
    provider: str
    ip: str | None = None
    instance_type: str | None = None
    price_on_demand: float | None = None
    price_spot: float | None = None


@frozen
class BootstrapStarting:
    """The machine begins to install what the image asks for."""

    instance_id: str


@frozen
class BootstrapPhase:
    """A step of the bootstrap began or ended. Also named ``BootstrapProgress``.

    ``step`` is one of ``uv``, ``apt``, ``deps``, ``skyward``, ``server``, ``volumes`` or a plugin's own;
    ``seconds`` is how long a completed step took, ``None`` for one that started.
    """

    instance_id: str
    step: str
    state: Literal["started", "completed"] = "started"
    seconds: float | None = None

    @property
    def phase(self) -> str:
        """Another name of ``step``."""
        return self.step


@frozen
class InstanceBootstrapped:
    """The machine has everything that the image asks for. Also named ``BootstrapCompleted``."""

    instance_id: str


@frozen
class NodeReady:
    """The node takes tasks."""

    node: int
    instance_id: str


@frozen
class ClusterReady:
    """All ``nodes`` nodes take tasks."""

    nodes: int


@frozen
class TaskStarted:
    """A task was given to a slot. ``task_id`` is unique in the pool, ``name`` the function's."""

    task_id: int
    name: str
    node: int
    slot: int
    instance_id: str


@frozen
class TaskCompleted:
    """A task ended. ``error`` is one line about what it raised, ``None`` if it ``succeeded``."""

    task_id: int
    name: str
    node: int
    slot: int
    instance_id: str
    seconds: float
    succeeded: bool = True
    error: str | None = None


@frozen
class Metrics:
    """A sample of a node: percentages from 0 to 100, memory in MiB, temperature in degrees Celsius.

    The fields of the GPU are ``None`` on a node without one; with several, utilisation is their mean, memory their
    sum and the temperature that of the hottest.
    """

    instance_id: str
    node: int
    cpu_percent: float
    memory_percent: float
    memory_used_mb: float
    memory_total_mb: float
    gpu_utilization: float | None = None
    gpu_memory_used_mb: float | None = None
    gpu_memory_total_mb: float | None = None
    gpu_temperature: float | None = None


@frozen
class LogLine:
    """A line that a node wrote, without its line end, as the node wrote it (control characters included).

    ``timestamp`` is when, by the node's clock; ``stream`` is ``stdout`` or ``stderr``. ``task_id`` and ``slot`` are
    ``None`` where no task wrote it.
    """

    node: int
    instance_id: str
    line: str
    timestamp: float
    stream: str = "stdout"
    task_id: int | None = None
    slot: int | None = None


@frozen
class CostUpdate:
    """What the pool would cost if it ended now. The counts and ``hourly_rate`` are of the machines that run."""

    elapsed_seconds: float
    accumulated_cost: float
    hourly_rate: float
    spot_count: int
    ondemand_count: int


@frozen
class InstancePreempted:
    """The provider takes the machine back. ``deadline`` is when it ends, ``None`` if it has ended or no one knows."""

    instance_id: str
    node: int
    reason: str
    deadline: float | None = None


@frozen
class NodeReplaced:
    """Another machine has taken the place of a lost one."""

    node: int
    old_instance_id: str
    new_instance_id: str


@frozen
class TimeoutApproaching:
    """The pool's ``timeout`` ends its machines in ``seconds_left``, at ``deadline``.

    ``parameter`` is ``"budget"`` where it is the money that ends then.
    """

    seconds_left: float
    deadline: float
    parameter: Literal["timeout", "budget"] = "timeout"


@frozen
class Error:
    """Something went wrong; what it means for a task or for the pool is raised there as an exception."""

    message: str
    instance_id: str | None = None


@frozen
class PoolStopping:
    """The block has ended: machines are being given back."""


@frozen
class InstanceStopping:
    """One machine is being given back."""

    instance_id: str


@frozen
class CostFinal:
    """What the pool cost.

    ``total_seconds`` runs from the first machine's start to the last one's end, ``hourly_rate`` is the highest at any
    time, the counts are of all machines ever used. ``savings_vs_ondemand`` is what the same machines would have cost
    on demand, less what was paid.
    """

    total_cost: float
    total_seconds: float
    hourly_rate: float
    spot_count: int
    ondemand_count: int
    savings_vs_ondemand: float


@frozen
class ClusterDestroyed:
    """Every machine is proved to be gone."""


InfraCreated = ClusterProvisioned
BootstrapProgress = BootstrapPhase
BootstrapCompleted = InstanceBootstrapped

# A plain union, so that `isinstance(value, SkywardEvent)` works and `match` over it is checked to be complete.
SkywardEvent = (
    InfraCreating
    | ClusterProvisioned
    | InstanceLaunching
    | InstanceLaunched
    | InstanceRunning
    | InstanceProvisioned
    | BootstrapStarting
    | BootstrapPhase
    | InstanceBootstrapped
    | NodeReady
    | ClusterReady
    | TaskStarted
    | TaskCompleted
    | Metrics
    | LogLine
    | CostUpdate
    | InstancePreempted
    | NodeReplaced
    | TimeoutApproaching
    | Error
    | PoolStopping
    | InstanceStopping
    | CostFinal
    | ClusterDestroyed
)

EVENTS: tuple[type[SkywardEvent], ...] = SkywardEvent.__args__
"""Every event class, in the order of a pool's life."""
