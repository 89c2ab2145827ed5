"""What this RunPod sells: kinds and levels as the published examples have them, prices of no meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, field

__all__ = ["CENTERS", "Cpu", "Gpu", "cpus", "gpus", "told_cpu", "told_gpu", "version"]

CENTERS: dict[str, bool] = {"EU-RO-1": True, "US-KS-2": False, "CA-MTL-1": True}
"""The data centres, and whether they have global networking."""
_LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


@define(eq=False)
class Gpu:
    """A kind of GPU; ``stock`` has the level by cloud and data centre, ``cuda`` the versions of its hosts."""

    id: str
    name: str
    memory: int
    price: dict[str, float]
    most: dict[str, int]
    stock: dict[str, dict[str, str]] = field(factory=dict)
    cuda: tuple[str, ...] = ("12.4", "12.8")
    manufacturer: str = "NVIDIA"


@define(eq=False)
class Cpu:
    """A flavour of pods without GPUs."""

    id: str
    name: str
    price: float
    ram: float
    disk: int
    """GB for each virtual CPU, at most."""
    stock: dict[str, str] = field(factory=dict)
    least: int = 2
    most: int = 32


def gpus() -> dict[str, Gpu]:
    """All kinds, by id."""
    return {
        each.id: each
        for each in (
            Gpu(
                "NVIDIA GeForce RTX 4090",
                "RTX 4090",
                24,
                {"secure": 0.69, "community": 0.34},
                {"secure": 8, "community": 4},
                {"secure": {"EU-RO-1": "HIGH", "US-KS-2": "LOW"}, "community": {"CA-MTL-1": "MEDIUM"}},
            ),
            Gpu(
                "NVIDIA A100-SXM4-80GB",
                "A100 SXM",
                80,
                {"secure": 1.49, "community": 1.39},
                {"secure": 8, "community": 0},
                {"secure": {"US-KS-2": "MEDIUM", "EU-RO-1": "LOW"}},
            ),
            Gpu(
                "NVIDIA H200",
                "H200 SXM",
                141,
                {"secure": 3.99, "community": 0.0},
                {"secure": 8, "community": 0},
                {"secure": {}},
            ),
            Gpu(
                "NVIDIA L4",
                "L4",
                24,
                {"secure": 0.39, "community": 0.0},
                {"secure": 7, "community": 0},
                {"secure": {"EU-RO-1": "LOW"}},
                cuda=("12.2",),
            ),
            Gpu(
                "NVIDIA GeForce RTX 4080 SUPER",
                "RTX 4080 SUPER",
                16,
                {"secure": 0.0, "community": 0.28},
                {"secure": 0, "community": 2},
                {"community": {"CA-MTL-1": "LOW"}},
            ),
            Gpu(
                "AMD Instinct MI300X OAM",
                "MI300X",
                192,
                {"secure": 2.49, "community": 0.0},
                {"secure": 8, "community": 0},
                {"secure": {"EU-RO-1": "HIGH"}},
                cuda=(),
                manufacturer="AMD",
            ),
        )
    }


def cpus() -> dict[str, Cpu]:
    """All flavours, by id."""
    return {
        each.id: each
        for each in (
            Cpu("cpu3c", "Compute-Optimized", 0.03, 2.0, 10, {"EU-RO-1": "HIGH", "US-KS-2": "LOW"}),
            Cpu("cpu5c", "Compute-Optimized", 0.035, 2.0, 15, {"EU-RO-1": "LOW"}),
            Cpu("cpu3g", "General-Purpose", 0.04, 4.0, 10, {"EU-RO-1": "MEDIUM"}),
        )
    }


def version(text: str) -> tuple[int, ...]:
    """A CUDA version, to be compared: 12.11 is above 12.2."""
    return tuple(int(part) for part in text.split("."))


def _best(levels: Iterable[str]) -> str:
    return max(levels, key=_LEVELS.index, default="NONE")


def _centers(stock: dict[str, str]) -> list[dict[str, Any]]:
    return [{"id": each, "name": each.title(), "availability": level} for each, level in stock.items()]


def told_gpu(gpu: Gpu, *, count: int = 0, cloud: str = "secure", least_cuda: str | None = None) -> dict[str, Any]:
    """A kind of GPU as the API tells it; with what there is of it where a count is given."""
    told: dict[str, Any] = {
        "id": gpu.id,
        "name": gpu.name,
        "pool": None,
        "manufacturer": gpu.manufacturer,
        "memory": gpu.memory,
        "secure": gpu.most["secure"] > 0,
        "community": gpu.most["community"] > 0,
        "price": dict(gpu.price),
        "maxCount": dict(gpu.most),
    }
    if count:
        fits = [each for each in gpu.cuda if least_cuda is None or version(each) >= version(least_cuda)]
        stock = gpu.stock.get(cloud, {}) if count <= gpu.most[cloud] and (fits or least_cuda is None) else {}
        told |= {"availability": _best(stock.values())}
        told |= {"dataCenters": _centers(stock)} if stock else {}
        told |= {"cudaVersions": [{"version": each, "available": True} for each in fits]} if fits else {}
    return told


def told_cpu(cpu: Cpu, *, stock: bool) -> dict[str, Any]:
    """A flavour as the API tells it."""
    told: dict[str, Any] = {
        "id": cpu.id,
        "name": cpu.name,
        "group": "Gen 5" if "5" in cpu.id else "Gen 3",
        "vcpu": {"min": cpu.least, "max": cpu.most},
        "ramGbPerVcpu": cpu.ram,
        "price": {"securePerVcpu": cpu.price, "serverlessPerVcpu": cpu.price},
    }
    if stock:
        told |= {"availability": _best(cpu.stock.values())}
        told |= {"dataCenters": _centers(cpu.stock)} if cpu.stock else {}
    return told
