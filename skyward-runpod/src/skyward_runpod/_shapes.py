"""What RunPod's interface answers, as far as it is needed; names and meaning are those of its published schema, v2.

Only what nothing can be done without is demanded: whatever else is missing has a default.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

__all__ = ["CpuType", "Cpus", "DataCenter", "DataCenters", "GpuType", "Gpus", "Pod", "Pods", "Price", "Stock", "Volume"]


@frozen(kw_only=True)
class Stock:
    """How much there is of something in one data centre: ``"NONE"``, ``"LOW"``, ``"MEDIUM"`` or ``"HIGH"``."""

    id: str
    availability: str = "NONE"


@frozen(kw_only=True)
class Price:
    """US dollars an hour for one GPU, by cloud; 0 where a cloud does not have it."""

    secure: float = 0.0
    community: float = 0.0


@frozen(kw_only=True)
class Most:
    """The most GPUs that one pod can have, by cloud."""

    secure: int = 0
    community: int = 0


@frozen(kw_only=True)
class GpuType:
    """A kind of GPU.

    Attributes:
        id: what a pod is ordered by, such as ``"NVIDIA GeForce RTX 4090"``.
        name: what people call it, such as ``"RTX 4090"``.
        manufacturer: ``"NVIDIA"`` or ``"AMD"``.
        memory: of one, in GB.
        secure: whether the secure cloud has it.
        community: likewise.
        price: for one.
        max_count: on one pod.
        availability: of the number, the cloud and the CUDA version that were asked for.
        data_centers: likewise, by data centre; those without it may be missing.
    """

    id: str
    name: str = ""
    manufacturer: str = "NVIDIA"
    memory: float = 0.0
    secure: bool = False
    community: bool = False
    price: Price = field(factory=Price)
    max_count: Most = field(factory=Most)
    availability: str = "NONE"
    data_centers: tuple[Stock, ...] = ()


@frozen(kw_only=True)
class Range:
    """The least and the most virtual CPUs of a pod."""

    min: int = 2
    max: int = 32


@frozen(kw_only=True)
class CpuPrice:
    """US dollars an hour for one virtual CPU."""

    secure_per_vcpu: float


@frozen(kw_only=True)
class CpuType:
    """A flavour of pods without GPUs, such as ``"cpu5c"``; prices and memory are those of one virtual CPU."""

    id: str
    vcpu: Range = field(factory=Range)
    ram_gb_per_vcpu: float
    price: CpuPrice
    availability: str = "NONE"
    data_centers: tuple[Stock, ...] = ()


@frozen(kw_only=True)
class DataCenter:
    """A data centre, and whether its pods can have private addresses."""

    id: str
    global_network: bool = False


@frozen(kw_only=True)
class Volume:
    """A network volume, and the data centre that has it."""

    id: str
    name: str = ""
    data_center: str = ""


@frozen(kw_only=True)
class Address:
    """An SSH server."""

    host: str = ""
    port: int = 0


@frozen(kw_only=True)
class Ssh:
    """How a pod is reached; ``direct`` is there once it has a public port."""

    direct: Address | None = None


@frozen(kw_only=True)
class Network:
    """Whether a pod is to have a private address, and that address once it is there."""

    enabled: bool = False
    ip: str | None = None


@frozen(kw_only=True)
class Pod:
    """A pod. ``cost`` is in US dollars an hour, ``env`` holds its variables.

    The pods of strangers are among them, so nothing of a pod but its id is relied on.
    """

    id: str
    name: str = ""
    status: str = ""
    env: dict[str, Any] = field(factory=dict, repr=False)
    cost: float | None = None
    data_center_id: str | None = None
    ssh: Ssh = field(factory=Ssh)
    global_networking: Network = field(factory=Network)


@frozen(kw_only=True)
class Gpus:
    """The answer of ``/v2/catalog/gpus``."""

    gpus: tuple[GpuType, ...]


@frozen(kw_only=True)
class Cpus:
    """The answer of ``/v2/catalog/cpus``."""

    cpus: tuple[CpuType, ...]


@frozen(kw_only=True)
class DataCenters:
    """The answer of ``/v2/catalog/datacenters``."""

    data_centers: tuple[DataCenter, ...]


@frozen(kw_only=True)
class Pods:
    """A page of ``/v2/pods``. The published schema has one alone; a cursor that leads to a next one is followed."""

    pods: tuple[Pod, ...]
    next_cursor: str = ""
