"""What the fake sells, in the vendor's forms: prices are text, memory of GPUs is that of all together."""

from __future__ import annotations

import uuid
from typing import Any

__all__ = ["IMAGES", "KINDS", "LOCATIONS", "image_names"]

_CUDA = ("ubuntu-24.04-cuda-12.8-open", "ubuntu-24.04-cuda-12.8-open-docker", "ubuntu-22.04-cuda-12.4-docker")
_PLAIN = ("ubuntu-24.04", "ubuntu-22.04")


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"verda/{name}"))


def _kind(
    name: str,
    model: str,
    cpu: int,
    memory: int,
    prices: tuple[str, str],
    gpus: int = 0,
    each: int = 0,
    says: str = "",
) -> dict[str, Any]:
    return {
        "id": _id(name),
        "instance_type": name,
        "model": model,
        "name": says or model,
        "cpu": {"description": f"{cpu} CPU", "number_of_cores": cpu},
        "gpu": {"description": f"{gpus}x {says}" if gpus else "", "number_of_gpus": gpus},
        "memory": {"description": f"{memory}GB RAM", "size_in_gigabytes": memory},
        "gpu_memory": {"description": f"{gpus * each}GB GPU RAM" if gpus else "", "size_in_gigabytes": gpus * each},
        "storage": {"description": "dynamic"},
        "price_per_hour": prices[0],
        "spot_price": prices[1],
        "currency": "usd",
        "manufacturer": "NVIDIA" if gpus else "AMD",
        "supported_os": list(_CUDA if gpus else _PLAIN),
        "p2p": None,
    }


KINDS = [
    _kind("CPU.4V.16G", "AMD EPYC", 4, 16, ("0.0279", "0.0098")),
    _kind("CPU.8V.32G", "AMD EPYC", 8, 32, ("0.0558", "0.0195")),
    _kind("1V100.6V", "Tesla V100", 6, 23, ("0.1381", "0.0483"), 1, 16, "Tesla V100 16GB"),
    _kind("1A100.40S.22V", "A100", 22, 120, ("0.7211", "0.2524"), 1, 40, "A100 SXM4 40GB"),
    _kind("1H100.80S.30V", "H100", 30, 120, ("2.2900", "0.8015"), 1, 80, "H100 SXM5 80GB"),
    _kind("8H100.80S.176V", "H100", 176, 1480, ("18.3200", "6.4120"), 8, 80, "H100 SXM5 80GB"),
    _kind("1B300.30V", "B300", 30, 275, ("4.9500", "0.0"), 1, 262, "B300 SXM6 262GB"),
]

LOCATIONS = [
    {"code": "FIN-01", "name": "Finland 1", "country_code": "FI"},
    {"code": "FIN-03", "name": "Finland 3", "country_code": "FI"},
    {"code": "ICE-01", "name": "Iceland 1", "country_code": "IS"},
]

IMAGES = [
    {
        "id": _id(name),
        "image_type": name,
        "name": name.replace("-", " "),
        "is_default": name == "ubuntu-24.04",
        "is_cluster": "cluster" in name,
        "details": name.split("-"),
        "category": name.partition("-")[0],
    }
    for name in (*_PLAIN, *_CUDA, "ubuntu-24.04-cuda-13.0-open-cluster", "jupyter")
]


def image_names(kind: str | None) -> set[str]:
    """The images that a kind can boot; ``None`` for all."""
    if kind is None:
        return {str(image["image_type"]) for image in IMAGES}
    return {name for each in KINDS if each["instance_type"] == kind for name in each["supported_os"]}
