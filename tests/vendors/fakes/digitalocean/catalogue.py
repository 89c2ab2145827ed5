"""What is sold: sizes, regions and images, with figures of the published lists of autumn 2026."""

from __future__ import annotations

from typing import Any

__all__ = ["IMAGES", "REGIONS", "VPC", "sizes"]

VPC = "953d698c-dc84-11e8-80bc-3cfdfea9fba1"
"""The network that droplets are put into."""

_EVERYWHERE = ["ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo2", "sfo3", "sgp1", "tor1"]

REGIONS = {
    "ams3": "Amsterdam 3",
    "atl1": "Atlanta 1",
    "fra1": "Frankfurt 1",
    "lon1": "London 1",
    "nyc1": "New York 1",
    "nyc2": "New York 2",
    "nyc3": "New York 3",
    "sfo2": "San Francisco 2",
    "sfo3": "San Francisco 3",
    "sgp1": "Singapore 1",
    "tor1": "Toronto 1",
}

IMAGES = {
    "debian-13-x64": ("Debian", "13 x64"),
    "gpu-amd-base": ("Ubuntu", "AMD AI/ML Ready"),
    "gpu-h100x1-base": ("Ubuntu", "NVIDIA AI/ML Ready"),
    "gpu-h100x8-base": ("Ubuntu", "NVIDIA AI/ML Ready with NVLink"),
    "ubuntu-24-04-x64": ("Ubuntu", "24.04 (LTS) x64"),
}

# slug, MiB, CPUs, GB of disk, dollars for an hour, regions, (GPUs, model, GB of one)
_SIZES: list[tuple[str, int, int, int, float, list[str], tuple[int, str, int] | None]] = [
    ("s-1vcpu-512mb-10gb", 512, 1, 10, 0.00595, ["ams3", "fra1", "nyc1", "sfo3", "sgp1"], None),
    ("s-1vcpu-1gb", 1024, 1, 25, 0.00893, _EVERYWHERE, None),
    ("s-2vcpu-2gb", 2048, 2, 60, 0.02679, _EVERYWHERE, None),
    ("s-2vcpu-4gb", 4096, 2, 80, 0.03571, _EVERYWHERE, None),
    ("s-4vcpu-8gb", 8192, 4, 160, 0.07143, _EVERYWHERE, None),
    ("c-2", 4096, 2, 25, 0.0625, _EVERYWHERE, None),
    ("g-2vcpu-8gb", 8192, 2, 25, 0.09375, _EVERYWHERE, None),
    ("m-2vcpu-16gb", 16384, 2, 50, 0.125, _EVERYWHERE, None),
    ("s-8vcpu-16gb", 16384, 8, 320, 0.14286, _EVERYWHERE, None),
    ("c-32", 65536, 32, 400, 1.0, ["nyc3", "sfo3"], None),
    ("gpu-4000adax1-20gb", 32768, 8, 500, 0.76, ["nyc1", "tor1"], (1, "nvidia_rtx4000_ada", 20)),
    ("gpu-l40sx1-48gb", 65536, 8, 500, 1.57, ["nyc1", "tor1"], (1, "nvidia_l40s", 48)),
    ("gpu-6000adax1-48gb", 65536, 8, 500, 1.57, [], (1, "nvidia_rtx6000_ada", 48)),
    ("gpu-h100x1-80gb", 245760, 20, 720, 3.39, ["nyc1", "nyc2", "tor1", "ams3"], (1, "nvidia_h100", 80)),
    ("gpu-h100x8-640gb", 1966080, 160, 2046, 23.92, ["nyc1", "nyc2", "tor1"], (8, "nvidia_h100", 80)),
    ("gpu-h100x8-640gb-contracted", 1966080, 160, 2046, 15.92, ["nyc1"], (8, "nvidia_h100", 80)),
    ("gpu-h200x1-141gb", 245760, 24, 720, 3.44, ["nyc1", "nyc2"], (1, "nvidia_h200", 141)),
    ("gpu-mi300x1-192gb", 245760, 20, 720, 1.99, ["nyc1", "atl1"], (1, "amd_mi300x", 192)),
    ("gpu-mi350x1-288gb-spot", 245760, 24, 720, 2.46, ["nyc1"], (1, "amd_mi350x", 288)),
    ("gpu-next1-999gb", 245760, 24, 720, 9.99, ["nyc1"], (1, "nvidia_x900", 999)),
]


def sizes() -> dict[str, dict[str, Any]]:
    """The sizes as the API tells them, by slug. ``gpu-b300x1-288gb`` is out of order everywhere."""
    told = {
        slug: {
            "slug": slug,
            "memory": memory,
            "vcpus": vcpus,
            "disk": disk,
            "transfer": 5.0,
            "price_monthly": round(price * 672, 2),
            "price_hourly": price,
            "regions": list(regions),
            "available": True,
            "description": "GPU" if gpus else "Basic",
            **({} if gpus is None else {"gpu_info": _gpus(*gpus)}),
        }
        for slug, memory, vcpus, disk, price, regions, gpus in _SIZES
    }
    told["gpu-b300x1-288gb"] = {
        **told["gpu-h200x1-141gb"],
        "slug": "gpu-b300x1-288gb",
        "price_hourly": 0.5,
        "available": False,
        "gpu_info": _gpus(1, "nvidia_b300", 288),
    }
    return told


def _gpus(count: int, model: str, amount: int) -> dict[str, Any]:
    return {"count": count, "model": model, "vram": {"amount": amount, "unit": "gib"}}
