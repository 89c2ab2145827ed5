"""Where each name of ``import skyward`` comes from, so that it is imported when it is first used.

A test compares this table with the imports that type checkers see in ``skyward/__init__.py``.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["available", "resolve"]

_PLACES: Final = {
    "skyward._callbacks": ("Callback", "compose", "emit", "use_callback"),
    "skyward._current": ("broadcast", "run", "run_batch"),
    "skyward._handles": ("select_available", "select_cheapest", "select_first"),
    "skyward._instance": ("current_accelerator", "instance_info"),
    "skyward._local": ("Local",),
    "skyward._multi": ("MultiPool",),
    "skyward._own_executor": ("Executor",),
    "skyward._pool": ("ComputePool",),
    "skyward._pool_decorator": ("pool",),
    "skyward._sampler": ("DistributedSampler",),
    "skyward._select_instance": ("select_instance",),
    "skyward._shard": ("shard",),
    "skyward.computation": ("PendingBatch", "PendingCompute", "gather"),
    "skyward.errors": ("AllProvidersFailedError", "AuthenticationFailed", "BootstrapError", "ConfigurationError", "NoAvailableProviderError", "NodeLost", "OutcomeUnknown", "PluginError", "PluginNotInstalled", "PoolTimeout", "ProtocolError", "ProviderError", "ProvisionTimeout", "ProvisioningError", "QuotaExceeded", "SerializationError", "SkywardError", "SkywardWarning", "SlotDied", "TaskCancelled", "TaskError", "TaskExit", "Transient", "Unavailable", "UsageError"),
    "skyward.function": ("ComputeFunction", "compute"),
    "skyward.model.accelerator": ("Accelerator",),
    "skyward.model.accelerator_spec": ("AcceleratorSpec",),
    "skyward.model.allocation": ("Allocation",),
    "skyward.model.cluster": ("InstanceInfo",),
    "skyward.model.events": ("BootstrapCompleted", "BootstrapPhase", "BootstrapProgress", "BootstrapStarting", "ClusterDestroyed", "ClusterProvisioned", "ClusterReady", "CostFinal", "CostUpdate", "Error", "InfraCreated", "InfraCreating", "InstanceBootstrapped", "InstanceLaunched", "InstanceLaunching", "InstancePreempted", "InstanceProvisioned", "InstanceRunning", "InstanceStopping", "LogLine", "Metrics", "NodeReady", "NodeReplaced", "PoolStopping", "SkywardEvent", "TaskCompleted", "TaskStarted", "TimeoutApproaching"),
    "skyward.model.image": ("Image",),
    "skyward.model.machine": ("MachineType",),
    "skyward.model.nvidia": ("NVIDIA",),
    "skyward.model.spec": ("ComputeSpec",),
    "skyward.model.vendor": ("is_nvidia", "is_trainium"),
    "skyward.model.volume": ("S3Volume", "Volume"),
}
_MODULES: Final = {
    "accelerators": "skyward.model.accelerators",
    "integrations": "skyward._integrations",
    "plugins": "skyward._integrations",
    "spi": "skyward.spi",
    "testing": "skyward.testing",
}
_HOME: Final = {name: place for place, names in _PLACES.items() for name in names}


def resolve(name: str) -> Any:
    """Return what ``skyward.<name>`` is: of core, or of a plugin.

    Raises:
        PluginNotInstalled: a known plugin is missing; it says what to install.
        AttributeError: nobody knows the name; near matches are named.
    """
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'skyward' has no attribute {name!r}")
    from skyward import _plugins

    return _plugins.provider(name, core=_HOME)


def available() -> list[str]:
    """Every name of ``skyward``, those of installed plugins included."""
    from skyward import _plugins

    return sorted({*_HOME, *_MODULES, *_plugins.provider_names()})
