"""Run decorated Python functions on machines that exist only as long as a ``with`` block.

    import skyward as sky

    @sky.compute
    def square(x: int) -> int:
        return x * x

    with sky.ComputePool(nodes=2) as pool:
        nine = square(3) >> pool

Names are resolved when they are first used, so that importing the package costs next to nothing. What a plugin
provides (``sky.AWS``, ``sky.Container``) is found through entry points, at the first such name.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what checkers take for true; importing typing would double the cost of this module
if TYPE_CHECKING:
    from skyward import _integrations as integrations
    from skyward import _integrations as plugins
    from skyward._callbacks import Callback, compose, emit, use_callback
    from skyward._current import broadcast, run, run_batch
    from skyward._handles import select_available, select_cheapest, select_first
    from skyward._instance import current_accelerator, instance_info
    from skyward._local import Local
    from skyward._multi import MultiPool
    from skyward._own_executor import Executor
    from skyward._plugins import installed_plugins
    from skyward._pool import ComputePool
    from skyward._pool_decorator import pool
    from skyward._sampler import DistributedSampler
    from skyward._select_instance import select_instance
    from skyward._shard import shard
    from skyward.computation import PendingBatch, PendingCompute, gather
    from skyward.errors import (
        AllProvidersFailedError,
        AuthenticationFailed,
        BootstrapError,
        BudgetExhausted,
        ConfigurationError,
        NoAvailableProviderError,
        NodeLost,
        OutcomeUnknown,
        PluginError,
        PluginNotInstalled,
        PoolTimeout,
        ProtocolError,
        ProviderError,
        ProvisioningError,
        ProvisionTimeout,
        QuotaExceeded,
        SerializationError,
        SkywardError,
        SkywardWarning,
        SlotDied,
        TaskCancelled,
        TaskError,
        TaskExit,
        Transient,
        Unavailable,
        UsageError,
    )
    from skyward.function import ComputeFunction, compute
    from skyward.model import accelerators
    from skyward.model.accelerator import Accelerator
    from skyward.model.accelerator_spec import AcceleratorSpec
    from skyward.model.allocation import Allocation
    from skyward.model.cluster import InstanceInfo
    from skyward.model.events import (
        BootstrapCompleted,
        BootstrapPhase,
        BootstrapProgress,
        BootstrapStarting,
        ClusterDestroyed,
        ClusterProvisioned,
        ClusterReady,
        CostFinal,
        CostUpdate,
        Error,
        InfraCreated,
        InfraCreating,
        InstanceBootstrapped,
        InstanceLaunched,
        InstanceLaunching,
        InstancePreempted,
        InstanceProvisioned,
        InstanceRunning,
        InstanceStopping,
        LogLine,
        Metrics,
        NodeReady,
        NodeReplaced,
        PoolStopping,
        SkywardEvent,
        TaskCompleted,
        TaskStarted,
        TimeoutApproaching,
    )
    from skyward.model.image import Image
    from skyward.model.machine import MachineType
    from skyward.model.nvidia import NVIDIA
    from skyward.model.plugin import PluginInfo
    from skyward.model.spec import ComputeSpec
    from skyward.model.vendor import is_nvidia, is_trainium
    from skyward.model.volume import S3Volume, Volume
    from skyward_aws import AWS as AWS
    from skyward_container import Container as Container
    from skyward_digitalocean import DigitalOcean as DigitalOcean
    from skyward_runpod import RunPod as RunPod
    from skyward_vastai import VastAI as VastAI
    from skyward_verda import Verda as Verda
else:

    def __getattr__(name):
        from skyward._names import resolve

        value = globals()[name] = resolve(name)
        return value


def __dir__() -> list[str]:
    from skyward._names import available

    return available()


__all__ = [
    "NVIDIA",
    "Accelerator",
    "AcceleratorSpec",
    "AllProvidersFailedError",
    "Allocation",
    "AuthenticationFailed",
    "BootstrapCompleted",
    "BootstrapError",
    "BootstrapPhase",
    "BootstrapProgress",
    "BootstrapStarting",
    "BudgetExhausted",
    "Callback",
    "ClusterDestroyed",
    "ClusterProvisioned",
    "ClusterReady",
    "ComputeFunction",
    "ComputePool",
    "ComputeSpec",
    "ConfigurationError",
    "CostFinal",
    "CostUpdate",
    "DistributedSampler",
    "Error",
    "Executor",
    "Image",
    "InfraCreated",
    "InfraCreating",
    "InstanceBootstrapped",
    "InstanceInfo",
    "InstanceLaunched",
    "InstanceLaunching",
    "InstancePreempted",
    "InstanceProvisioned",
    "InstanceRunning",
    "InstanceStopping",
    "Local",
    "LogLine",
    "MachineType",
    "Metrics",
    "MultiPool",
    "NoAvailableProviderError",
    "NodeLost",
    "NodeReady",
    "NodeReplaced",
    "OutcomeUnknown",
    "PendingBatch",
    "PendingCompute",
    "PluginError",
    "PluginInfo",
    "PluginNotInstalled",
    "PoolStopping",
    "PoolTimeout",
    "ProtocolError",
    "ProviderError",
    "ProvisionTimeout",
    "ProvisioningError",
    "QuotaExceeded",
    "S3Volume",
    "SerializationError",
    "SkywardError",
    "SkywardEvent",
    "SkywardWarning",
    "SlotDied",
    "TaskCancelled",
    "TaskCompleted",
    "TaskError",
    "TaskExit",
    "TaskStarted",
    "TimeoutApproaching",
    "Transient",
    "Unavailable",
    "UsageError",
    "Volume",
    "accelerators",
    "broadcast",
    "compose",
    "compute",
    "current_accelerator",
    "emit",
    "gather",
    "installed_plugins",
    "instance_info",
    "integrations",
    "is_nvidia",
    "is_trainium",
    "plugins",
    "pool",
    "run",
    "run_batch",
    "select_available",
    "select_cheapest",
    "select_first",
    "select_instance",
    "shard",
    "use_callback",
]
