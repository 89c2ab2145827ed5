"""Which of a node's GPUs belong to a process, said before jax has looked for any."""

from __future__ import annotations

import os
from importlib.metadata import distributions
from pathlib import Path

from skyward.spi import Group

__all__ = ["demand_builds", "devices_of", "share"]


def demand_builds() -> None:
    """See to it that a node with GPUs computes on them, unless ``JAX_PLATFORMS`` says otherwise.

    Raises:
        ConfigurationError: its jax is built for CPUs alone.
    """
    from skyward import ConfigurationError, instance_info

    if os.environ.get("JAX_PLATFORMS") or not instance_info().accelerators or not _has_nvidia() or _builds_for_gpus():
        return
    raise ConfigurationError(
        "this node has GPUs, and its jax is built for CPUs alone: name the builds, as in "
        'Image(pip=["jax[cuda12]"]), or leave jax to plugins=[sky.integrations.jax()]; to compute on CPUs all the '
        'same, give the pool env={"JAX_PLATFORMS": "cpu"}'
    )


def devices_of(group: Group) -> list[int] | None:
    """The GPUs of a process, by their places among those that the node lets it see; ``None`` leaves them to jax.

    Raises:
        ConfigurationError: the node has fewer GPUs than processes.
    """
    if group.local_size == 1 or not _builds_for_gpus():
        return None
    return share(group.local_rank, group.local_size, _visible())


def share(rank: int, size: int, gpus: int) -> list[int] | None:
    """The part of ``gpus`` GPUs that the process of this rank among ``size`` has; ``None`` where there are none.

    Raises:
        ConfigurationError: there are fewer than processes.
    """
    if gpus == 0:
        return None
    if gpus < size:
        from skyward import ConfigurationError

        raise ConfigurationError(
            f"jax takes a whole GPU for each process, and this node has {gpus} for {size}: give the pool "
            f"concurrency={gpus}"
        )
    each = gpus // size
    return list(range(rank * each, (rank + 1) * each))


def _builds_for_gpus() -> bool:
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return False
    return any((each.name or "").startswith(("jax-cuda", "jax_cuda")) for each in distributions())


def _has_nvidia() -> bool:
    """Whether jax may see GPUs of NVIDIA, or parts of them."""
    return _visible() > 0 or "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", "")


def _visible() -> int:
    """How many GPUs jax may see; none where each slot has a part of a GPU for itself, which is all that it sees."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        parts = [each for each in named.split(",") if each.strip() not in {"", "-1"}]
        return 0 if any(each.startswith("MIG-") for each in parts) else len(parts)
    return sum(each.name.removeprefix("nvidia").isdigit() for each in Path("/dev").glob("nvidia[0-9]*"))
