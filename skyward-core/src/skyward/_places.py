"""Which module each of core's own names is in. Data only.

A test compares it with the imports that type checkers see in ``skyward/__init__.py``.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HOME", "MODULES", "OWN"]

_PLACES: Final = {
    "skyward._callbacks": ("Callback", "compose", "emit", "use_callback"),
    "skyward._current": ("broadcast", "run", "run_batch"),
    "skyward._handles": ("select_available", "select_cheapest", "select_first"),
    "skyward._instance": ("current_accelerator", "instance_info"),
    "skyward._local": ("Local",),
    "skyward._multi": ("MultiPool",),
    "skyward._own_executor": ("Executor",),
    "skyward._plugins": ("installed_plugins",),
    "skyward._pool": ("ComputePool",),
    "skyward._pool_decorator": ("pool",),
    "skyward._sampler": ("DistributedSampler",),
    "skyward._select_instance": ("select_instance",),
    "skyward._shard": ("shard",),
    "skyward.computation": ("PendingBatch", "PendingCompute", "gather"),
    "skyward.errors": (
        "AllProvidersFailedError",
        "AuthenticationFailed",
        "BootstrapError",
        "BudgetExhausted",
        "ConfigurationError",
        "NoAvailableProviderError",
        "NodeLost",
        "OutcomeUnknown",
        "PluginError",
        "PluginNotInstalled",
        "PoolTimeout",
        "ProtocolError",
        "ProviderError",
        "ProvisionTimeout",
        "ProvisioningError",
        "QuotaExceeded",
        "SerializationError",
        "SkywardError",
        "SkywardWarning",
        "SlotDied",
        "TaskCancelled",
        "TaskError",
        "TaskExit",
        "Transient",
        "Unavailable",
        "UsageError",
    ),
    "skyward.function": ("ComputeFunction", "compute"),
    "skyward.model.accelerator": ("Accelerator",),
    "skyward.model.accelerator_spec": ("AcceleratorSpec",),
    "skyward.model.allocation": ("Allocation",),
    "skyward.model.cluster": ("InstanceInfo",),
    "skyward.model.events": (
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
    ),
    "skyward.model.image": ("Image",),
    "skyward.model.machine": ("MachineType",),
    "skyward.model.nvidia": ("NVIDIA",),
    "skyward.model.plugin": ("PluginInfo",),
    "skyward.model.spec": ("ComputeSpec",),
    "skyward.model.vendor": ("is_nvidia", "is_trainium"),
    "skyward.model.volume": ("S3Volume", "Volume"),
}
MODULES: Final = {
    "accelerators": "skyward.model.accelerators",
    "integrations": "skyward._integrations",
    "plugins": "skyward._integrations",
    "spi": "skyward.spi",
    "testing": "skyward.testing",
}
HOME: Final = {name: place for place, names in _PLACES.items() for name in names}
"""The module of each name."""
OWN: Final = frozenset({*HOME, *MODULES})
"""Every name of ``skyward`` that is not a plugin's."""
