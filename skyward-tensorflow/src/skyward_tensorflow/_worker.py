"""On a node: being a worker for the time of one call. This module is imported there alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from skyward.spi import Group, current_group, environ_with, not_on_this_node, uninterrupted
from skyward_tensorflow._cluster import Cluster, current
from skyward_tensorflow._port import REUSE, demand_the_first, kept, warn_of_exposure

__all__ = ["take_gpus", "worker"]


@contextmanager
def worker() -> Iterator[None]:
    """Have ``TF_CONFIG`` name the workers of the running call, and this one among them, inside the block.

    A function that runs by itself, and not in a group, is left alone.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
        ConfigurationError: TensorFlow finds none of the node's GPUs, or they cannot be divided among its ranks.
        ConnectionError: the first worker's machine does not answer.
    """
    group = current_group()
    if group is None:
        yield
        return
    if find_spec("tensorflow") is None:
        raise not_on_this_node("tensorflow", "tensorflow")
    cluster = current(group)
    after = ExitStack()
    try:
        after.enter_context(environ_with({"TF_CONFIG": cluster.config, **REUSE, **_share(group)}))
        after.enter_context(_numbered(cluster))
        take_gpus(group)
        if cluster.call == group.call:  # else TensorFlow has its port already
            demand_the_first(group)
            warn_of_exposure(group)
            after.enter_context(kept(group))
        cluster.whole = False
        yield
    finally:
        with uninterrupted():
            after.close()
    cluster.whole = True


def _share(group: Group) -> dict[str, str]:
    """This rank's share of the node's cores, where several ranks have one node and nobody has said otherwise.

    TensorFlow reads it once in the life of a process.
    """
    if group.local_size == 1 or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"TF_NUM_INTRAOP_THREADS": str(max(1, cores // group.local_size))}


@contextmanager
def _numbered(cluster: Cluster) -> Iterator[None]:
    """Have the strategies that are made in the block number their collective operations from where the call begins."""
    first = cluster.keys()
    if not first:  # as every strategy does; it need not be imported for that
        yield
        return
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy
    before = strategy._collective_key_base
    strategy._collective_key_base = first
    try:
        yield
    finally:
        strategy._collective_key_base = before


def take_gpus(group: Group) -> None:
    """Give each rank of a node GPUs of its own. As every other setting of TensorFlow's that is once for a process.

    Raises:
        ConfigurationError: the node has GPUs, and TensorFlow finds none, or not one for each rank.
    """
    from skyward import ConfigurationError, instance_info

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not instance_info().accelerators or visible in {"", "-1"} or not _has_nvidia():
        return
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ConfigurationError(
            "this node has GPUs, and its TensorFlow finds none: name CUDA's libraries, as in "
            'Image(pip=["tensorflow[and-cuda]"]), or leave TensorFlow to plugins=[sky.integrations.tensorflow()]; to '
            'compute on CPUs all the same, give the pool env={"CUDA_VISIBLE_DEVICES": "-1"}'
        )
    if group.local_size == 1 or visible is not None:
        return
    own = gpus[group.local_rank :: group.local_size]
    if not own:
        raise ConfigurationError(
            f"this node has {len(gpus)} GPUs for {group.local_size} ranks, and TensorFlow does not share them: "
            f"use concurrency={len(gpus)} or less"
        )
    if own != tf.config.get_visible_devices("GPU"):
        tf.config.set_visible_devices(own, "GPU")


def _has_nvidia() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))
