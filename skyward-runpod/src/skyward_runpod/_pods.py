"""Pods as they are ordered, and what RunPod tells of them. Pure.

A pod has no tags. Who it belongs to stands in one of its variables, which cannot be changed without its container
starting again; its deadline, which can be moved, stands in its name as well, and the name goes before the variable.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from typing import Any

from attrs import evolve

from skyward.spi import Instance, InstanceState, MachineLabel, Offer, Order
from skyward_runpod import _boot
from skyward_runpod._settings import RunPod
from skyward_runpod._shapes import Pod

__all__ = ["CPU_IMAGE", "CUDA_IMAGE", "LABEL", "body", "instance", "is_of", "label_of", "minimum_cuda", "named"]

CPU_IMAGE = "runpod/base:1.0.2-ubuntu2404"
CUDA_IMAGE = "runpod/base:1.0.2-cuda1281-ubuntu2404"
"""Images of https://github.com/runpod/containers, which start an SSH server where there is a ``PUBLIC_KEY``."""
_CUDA = "12.8"
"""What the host's driver must know for that image."""

LABEL = "SKYWARD_LABEL"
"""The variable that says whose a pod is."""
_LONGEST = 1000
"""Characters of that variable; RunPod tells of no limit."""
_UNTIL = re.compile(r" until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z$")

_DISK_GB = 50
_DISK_PER_VCPU = 10
"""GB of disk that a pod without GPUs can have for each virtual CPU; more is refused."""

_DELETED = frozenset({"TERMINATED"})
"""The one state in which a pod costs nothing at all; the interface then leaves it out of its lists."""
_ENDED = frozenset({"EXITED", "ERROR"})
"""It does nothing any more, and its disk may cost."""


def minimum_cuda(settings: RunPod) -> str | None:
    """The lowest CUDA version of the hosts that will do."""
    return settings.min_cuda or (None if settings.image else _CUDA)


def named(label: MachineLabel) -> str:
    """The name of a pod, which tells its deadline, to the millisecond and to people too."""
    if label.deadline is None:
        return label.name
    moment = dt.datetime.fromtimestamp(label.deadline, dt.UTC)
    return f"{label.name} until {moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def is_of(pod: Pod, label: MachineLabel) -> bool:
    """Whether a pod is the one that was ordered with this label."""
    return pod.name.partition(" ")[0] == label.name


def label_of(pod: Pod) -> MachineLabel | None:
    """Whose a pod is and until when; ``None`` for one of somebody else's."""
    text = pod.env.get(LABEL)
    label = MachineLabel.read(text) if isinstance(text, str) else None
    if label is None:
        return None
    if found := _UNTIL.search(pod.name):
        try:
            moment = dt.datetime.fromisoformat(found[1]).replace(tzinfo=dt.UTC)
        except ValueError:
            return label
        return evolve(label, deadline=moment.timestamp())
    return label


def body(order: Order, settings: RunPod, centers: Collection[str] | None) -> dict[str, Any]:
    """What is sent for one pod.

    The pool's key is let in and no other: with one in the variables, RunPod adds none of the account's.

    Args:
        order: which, and whose.
        settings: the user's.
        centers: the data centres that will do; ``None`` for all.
    """
    details: Mapping[str, Any] = order.offer.details
    key, label = order.key.public.strip(), order.label
    count, gpu = int(details["count"]), details.get("gpu")
    sent: dict[str, Any] = {
        "name": named(label),
        "image": settings.image or (CUDA_IMAGE if gpu else CPU_IMAGE),
        "cloud": str(details["cloud"]).upper(),
        "disk": settings.disk_gb or (_DISK_GB if gpu else min(_DISK_GB, _DISK_PER_VCPU * count)),
        "ports": ["22/tcp"],
        "startSsh": True,
        "args": _boot.ARGS,
        "env": {
            "PUBLIC_KEY": key,
            "SSH_PUBLIC_KEY": key,
            LABEL: label.text(_LONGEST),
            _boot.SCRIPT: _boot.boot(order.script, settings.endpoint, label.deadline),
        },
    }
    if gpu:
        sent["gpu"] = {"id": gpu, "count": count}
        if details.get("nvidia") and (least := minimum_cuda(settings)):
            sent["gpu"]["minCudaVersion"] = least
        sent |= {"globalNetworking": True} if settings.global_networking else {}
    else:
        sent["cpu"] = {"id": details["cpu"], "vcpuCount": count}
    if centers is not None:
        sent["dataCenterIds"] = sorted(centers)
    if settings.network_volume is not None:
        sent["mounts"] = {"network": [{"volumeId": settings.network_volume, "path": settings.mount_path}]}
    if settings.registry is not None:
        sent["registry"] = settings.registry
    return sent


def instance(pod: Pod, label: MachineLabel, offer: Offer | None = None) -> Instance:
    """What is told of a pod.

    It runs when its SSH server has a public port, and it has the private address that was asked for, which is not asked
    about again; the server itself may come up later. One that was stopped or has failed is gone, and billed: the base
    deletes it.

    Args:
        pod: as RunPod tells it.
        label: its own.
        offer: what it was bought as, if that is known.
    """
    direct = pod.ssh.direct if pod.ssh.direct and pod.ssh.direct.host and pod.ssh.direct.port else None
    network = pod.global_networking
    state = InstanceState.PENDING
    if pod.status in _DELETED or pod.status in _ENDED:
        state = InstanceState.GONE
    elif pod.status == "RUNNING" and direct is not None and (network.ip or not network.enabled):
        state = InstanceState.RUNNING
    if offer is not None and pod.cost:
        offer = evolve(offer, price=pod.cost, on_demand_price=pod.cost)
    return label.instance(
        pod.id,
        state,
        ip=None if direct is None else direct.host,
        private_ip=network.ip,
        offer=offer,
        details={
            "status": pod.status,
            **({"billed": True} if pod.status in _ENDED else {}),
            **({} if direct is None else {"port": direct.port}),
            **({} if pod.data_center_id is None else {"data_center": pod.data_center_id}),
        },
    )
