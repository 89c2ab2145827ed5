"""What a node is told of its pool before its slots start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward._options import PoolOptions
    from skyward.model.offer import Offer

__all__ = ["configured"]


def configured(options: PoolOptions, pool_id: str, cluster: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    """The configuration of a node, as it goes to its supervisor.

    Args:
        options: the pool's.
        pool_id: which all nodes have as their job's name.
        cluster: the node's place among the others.
        offer: what its machine was bought as.
    """
    spec, device = options.spec, offer.accelerator
    devices = [device.name] * device.count if device is not None and spec.accelerator is not None else []
    return {
        "cluster": {
            **cluster,
            "job_id": pool_id,
            "workers_per_node": spec.concurrency,
            "accelerators": devices,
        },
        "environment": {**spec.image.env, **options.environment},
        "metrics": options.collect_metrics,
    }
