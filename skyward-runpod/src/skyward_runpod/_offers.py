"""What RunPod would sell for a request. Pure.

Pods with GPUs have as many as were asked for: RunPod sells any number up to the most of a kind, so a larger one would
be paid for nothing. It does not say how many CPUs and how much memory come with them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from skyward import Accelerator, ConfigurationError
from skyward.spi import ComputeSpec, Offer
from skyward_runpod._settings import RunPod
from skyward_runpod._shapes import CpuType, GpuType, Stock

__all__ = ["Cloud", "accelerator_of", "clouds_of", "count_of", "cpu_offers", "gpu_offers", "preference", "vcpus_of"]

type Cloud = Literal["secure", "community"]

_STOCK = ("NONE", "LOW", "MEDIUM", "HIGH")
_LEAST_VCPU = 2
"""Of the published schema; smaller pods are not sold."""
_LEAST_MEMORY_GB = 3.5
"""Without a wish of the user's: what a node needs beside its tasks."""
_NAMES = {"NVIDIA B300 SXM6 AC": "B300-SXM"}
"""Ids that core's catalogue cannot read."""
_NEAR = 0.1
"""By how much the memory that RunPod tells may differ from the catalogue's: some is told as the system sees it."""


def clouds_of(settings: RunPod) -> tuple[Cloud, ...]:
    """The clouds that the settings admit."""
    return ("secure", "community") if settings.cloud == "any" else (settings.cloud,)


def count_of(spec: ComputeSpec) -> int:
    """How many GPUs each pod is to have."""
    return 1 if spec.accelerator is None else spec.accelerator.count


def accelerator_of(gpu: GpuType, count: int = 1) -> Accelerator | None:
    """What a kind of GPU is called here; ``None`` where it has no name, or is a part of a device."""
    found: list[Accelerator] = []
    for name in (_NAMES.get(gpu.id, gpu.id), gpu.name):
        if "MIG" in name.upper().split():
            return None
        for memory in (f"{gpu.memory:g}GB", None):
            try:
                read = Accelerator(name, count=count, memory=memory)
            except ConfigurationError:
                continue
            if abs(read.memory_gb - gpu.memory) <= _NEAR * read.memory_gb:
                found.append(read)
                break
    with_form = [each for each in found if each.form and each.model == found[0].model]
    return next(iter(with_form or found), None)


def gpu_offers(
    gpus: Iterable[GpuType], spec: ComputeSpec, settings: RunPod, cloud: Cloud, centers: Collection[str] | None
) -> Iterator[Offer]:
    """Pods with GPUs that meet the request.

    Args:
        gpus: what was answered for `count_of` the request, and this cloud.
        spec: the request.
        settings: the user's.
        cloud: which one.
        centers: the data centres that will do; ``None`` for all.
    """
    count = count_of(spec)
    for gpu in gpus:
        if gpu.manufacturer != "NVIDIA" and (settings.image is None or settings.global_networking):
            continue
        price: float = getattr(gpu.price, cloud)
        if not getattr(gpu, cloud) or price <= 0 or getattr(gpu.max_count, cloud) < count:
            continue
        has = accelerator_of(gpu, count)
        if not _is_wanted(gpu.id, has, spec):
            continue
        cost = round(price * count, 6)
        yield Offer(
            provider=settings.name,
            instance_type=gpu.id,
            region=_region(cloud, settings),
            price=cost,
            on_demand_price=cost,
            accelerator=has,
            capacity=_capacity(stock := _stock(gpu.availability, gpu.data_centers, centers)),
            details={
                "gpu": gpu.id,
                "count": count,
                "cloud": cloud,
                "stock": stock,
                "nvidia": gpu.manufacturer == "NVIDIA",
            },
        )


def _is_wanted(machine: str, has: Accelerator | None, spec: ComputeSpec) -> bool:
    """Whoever names a machine wants that one; whoever names neither wants no GPU."""
    if spec.machine is not None and machine != spec.machine:
        return False
    if spec.accelerator is None:
        return spec.machine is not None
    # A pod is a container: nobody in it can cut its devices into parts.
    return spec.accelerator.mig is None and has is not None and has.satisfies(spec.accelerator)


def vcpus_of(cpu: CpuType, spec: ComputeSpec) -> int | None:
    """The least virtual CPUs of a flavour that meet the request: a power of two; ``None`` where it has too few."""
    if spec.machine is not None:
        flavour, _, number = spec.machine.rpartition("-")
        if flavour != cpu.id or not (number.isascii() and number.isdigit()):
            return None
        count = int(number)
        return count if cpu.vcpu.min <= count <= cpu.vcpu.max and count & (count - 1) == 0 else None
    memory = (spec.memory_gb or _LEAST_MEMORY_GB) / cpu.ram_gb_per_vcpu
    least = max(spec.cpu or _LEAST_VCPU, memory - 1e-9, cpu.vcpu.min, _LEAST_VCPU)
    count = 2 ** math.ceil(math.log2(least))
    return count if count <= cpu.vcpu.max else None


def cpu_offers(
    cpus: Iterable[tuple[CpuType, int]], settings: RunPod, centers: Collection[str] | None
) -> Iterator[Offer]:
    """Pods without GPUs: flavours with their number of virtual CPUs. The secure cloud alone has such."""
    for cpu, count in cpus:
        cost = round(cpu.price.secure_per_vcpu * count, 6)
        if cost <= 0:
            continue
        stock = _stock(cpu.availability, cpu.data_centers, centers)
        yield Offer(
            provider=settings.name,
            instance_type=f"{cpu.id}-{count}",
            region=_region("secure", settings),
            price=cost,
            on_demand_price=cost,
            vcpu=count,
            memory_gb=round(cpu.ram_gb_per_vcpu * count, 3),
            capacity=_capacity(stock),
            details={"cpu": cpu.id, "count": count, "cloud": "secure", "stock": stock},
        )


def _stock(whole: str, by_center: Collection[Stock], centers: Collection[str] | None) -> str:
    """The best that is told of the data centres that will do. An unknown word stands for a little."""
    told = [whole] if centers is None else [each.availability for each in by_center if each.id in centers]
    return max(told, key=lambda level: _STOCK.index(level) if level in _STOCK else 1, default="NONE")


def _capacity(stock: str) -> int | None:
    """Of anything but nothing RunPod does not say how many there are."""
    return 0 if stock == "NONE" else None


def _region(cloud: Cloud, settings: RunPod) -> str:
    return cloud if settings.data_centers is None else f"{cloud} {' or '.join(settings.data_centers)}"


def preference(offer: Offer) -> tuple[object, ...]:
    """What costs least comes first; of that, what there is most of."""
    stock = str(offer.details.get("stock"))
    return (offer.price or 0.0, -_STOCK.index(stock) if stock in _STOCK else 0, offer.instance_type, offer.region)
