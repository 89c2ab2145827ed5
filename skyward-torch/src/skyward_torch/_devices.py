"""The GPUs that ranks have, and the backend that all of them can use."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skyward.spi import Group

__all__ = ["Place", "agreed_backend", "demand_builds", "place_of"]


class Place(NamedTuple):
    """What a rank runs on.

    Attributes:
        node: its node.
        ranks: how many ranks of the group are on this node.
        devices: how many GPUs the rank sees.
        device: which of them is its own; ``None`` if it must share, or there are none.
        partition: whether that is a part of a GPU (MIG) rather than a whole one.
    """

    node: int
    ranks: int
    devices: int
    device: int | None
    partition: bool = False

    def packed(self) -> str:
        """As text, for the others."""
        return json.dumps(self)

    @classmethod
    def unpacked(cls, text: str | bytes) -> Place:
        """What another rank has packed."""
        return cls(*json.loads(text))


def place_of(torch: Any, group: Group) -> Place:
    """Where this rank runs. A GPU is its own if there is one for each rank of the node, or it sees a part alone."""
    node = group.members[group.rank].node
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices == 1 and os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith("MIG-"):
        return Place(node, group.local_size, 1, 0, partition=True)
    own = group.local_rank if group.local_size <= devices else None
    return Place(node, group.local_size, devices, own)


def demand_builds(torch: Any) -> None:
    """See to it that a node which was rented for its GPUs computes on them.

    Raises:
        ConfigurationError: torch sees none of them.
    """
    from skyward import instance_info

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    if torch.cuda.is_available() or hidden or not instance_info().accelerators or not _has_gpus():
        return
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    raise _refusal(
        f"this node has GPUs, and its torch {torch.__version__} "
        + (
            f"cannot use them: its builds are for version {built}, which the driver of the node may be too old for; "
            "name older ones, as in plugins=[sky.integrations.torch(wheels='cu126')]"
            if built
            else "is built for CPUs alone: name other builds, as in plugins=[sky.integrations.torch(wheels='cu128')]"
        )
        + "; to compute on CPUs all the same, use backend='gloo'"
    )


def _has_gpus() -> bool:
    """Whether there are any that torch could use: of NVIDIA, or of AMD."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def agreed_backend(asked: str | None, places: Sequence[Place]) -> str:
    """The backend of a group: what was asked for, else nccl where each rank has a whole GPU, and gloo on others.

    Args:
        asked: the integration's setting.
        places: those of all ranks.

    Raises:
        ConfigurationError: nccl cannot be, or the nodes are too different to choose for them.
    """
    if asked == "gloo":
        return "gloo"
    without = {place.node: place for place in places if place.device is None}
    if asked == "nccl":
        if without:
            raise _refusal(
                f"backend='nccl' needs a GPU for each rank, and {_told(without)}: give the pool accelerator=..., "
                "concurrency= at most the number of GPUs of a node, or use backend='gloo' for CPUs"
            )
        return "nccl"
    if without and len({place.node for place in places}) > len(without):
        raise _refusal(
            f"the nodes have different GPUs: {_told(without)}, and others have one for each: give the pool machines "
            "of one kind, or say backend='gloo' to compute on CPUs everywhere"
        )
    return "gloo" if without or any(place.partition for place in places) else "nccl"


def _told(without: dict[int, Place]) -> str:
    shown = [
        f"node {node} has {place.devices or 'none'} for {place.ranks}" for node, place in sorted(without.items())[:4]
    ]
    more = len(without) - len(shown)
    return ", ".join(shown) + (f" and {more} more nodes are like that" if more > 0 else "")


def _refusal(text: str) -> Exception:
    from skyward import ConfigurationError

    return ConfigurationError(text)
