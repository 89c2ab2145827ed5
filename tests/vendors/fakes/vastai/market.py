"""What is for rent: hosts with parts of theirs, and the searches for them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

__all__ = ["Ask", "Market", "usual"]

_HOURS = 24 * 30
_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
    "in": lambda value, given: value in given,
    "notin": lambda value, given: value not in given,
}


@define(kw_only=True)
class Ask:
    """A machine, or a part of one, that somebody rents out."""

    id: int
    machine_id: int
    gpu_name: str = "RTX 4090"
    num_gpus: int = 1
    gpu_ram: int = 24564
    dph_base: float = 0.40
    min_bid: float = 0.20
    geolocation: str = "Sweden, SE"
    reliability: float = 0.995
    cuda_max_good: float = 12.8
    cpu_cores_effective: float = 16.0
    cpu_ram: int = 128_576
    gpu_frac: float = 0.5
    disk_space: float = 500.0
    direct_port_count: int = 20
    duration: float = 2_592_000.0
    storage_cost: float = 0.15
    verification: str = "verified"
    datacenter: bool = False
    external: bool = False
    listed: bool = True
    """Whether a search shows it."""
    rented: int | None = field(default=None)
    """The instance that has it."""
    sold_out: bool = False
    """Whether somebody else has it, although a search shows it."""

    def row(self, gb: float, *, bid: bool) -> dict[str, Any]:
        """What a search says of it, with the price of so much disk."""
        disk = round(self.storage_cost * gb / _HOURS, 6)
        base = self.min_bid if bid else self.dph_base
        return {
            "id": self.id,
            "ask_contract_id": self.id,
            "machine_id": self.machine_id,
            "host_id": self.machine_id // 10,
            "bundle_id": 1000 + self.id,
            "gpu_name": self.gpu_name,
            "gpu_arch": "nvidia",
            "num_gpus": self.num_gpus,
            "gpu_ram": self.gpu_ram,
            "gpu_total_ram": self.gpu_ram * self.num_gpus,
            "gpu_frac": self.gpu_frac,
            "cpu_arch": "amd64",
            "cpu_cores": int(self.cpu_cores_effective / self.gpu_frac),
            "cpu_cores_effective": self.cpu_cores_effective,
            "cpu_ram": self.cpu_ram,
            "cuda_max_good": self.cuda_max_good,
            "direct_port_count": self.direct_port_count,
            "disk_space": self.disk_space,
            "dph_base": base,
            "dph_total": round(base + disk, 6),
            "duration": self.duration,
            "external": self.external,
            "geolocation": self.geolocation,
            "is_bid": bid,
            "min_bid": self.min_bid,
            "reliability": self.reliability,
            "reliability2": self.reliability,
            "rentable": self.rented is None,
            "rented": False,
            "score": round(100 * self.reliability / self.dph_base, 3),
            "storage_cost": self.storage_cost,
            "storage_total_cost": disk,
            "verification": self.verification,
            "datacenter": self.datacenter,
            "hosting_type": int(self.datacenter),
            "vms_enabled": False,
        }


@define
class Market:
    """All that is for rent."""

    asks: list[Ask] = field(factory=lambda: usual())

    def find(self, number: int) -> Ask | None:
        """One of them."""
        return next((ask for ask in self.asks if ask.id == number), None)

    def search(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a search brings.

        Raises:
            ValueError: it asks by something that there is not.
        """
        bid = question.get("type") == "bid"
        rows = [ask.row(float(question.get("allocated_storage", 8)), bid=bid) for ask in self.asks if ask.listed]
        plain = ("type", "order", "limit", "allocated_storage", "disable_bundling")
        for name, test in question.items():
            if name not in plain and test is not None:
                rows = [row for row in rows if _holds(row, name, test)]
        for name, direction in reversed(question.get("order") or [["score", "desc"]]):
            rows.sort(key=lambda row: row.get(name) or 0, reverse=direction == "desc")
        return rows[: int(question.get("limit") or 64)]


def _holds(row: Mapping[str, Any], name: str, tests: Mapping[str, Any]) -> bool:
    value: Any = row.get(name)
    if name == "verified":
        value = row["verification"] == "verified"
    elif name == "geolocation":
        value = str(row["geolocation"]).rpartition(",")[2].strip()
    elif name not in row:
        raise ValueError(f"{name} is not a valid search key")
    for kind, given in tests.items():
        if kind not in _TESTS:
            raise ValueError(f"{kind} is not a valid operator")
        wanted = [_read(each, value, name) for each in given] if isinstance(given, list) else _read(given, value, name)
        if not _TESTS[kind](value, wanted):
            return False
    return True


def _read(given: Any, value: Any, name: str) -> Any:
    """What a filter compares with: figures may come as text, and names of GPUs are written in two ways."""
    if name == "gpu_name":
        return str(given).replace("_", " ")
    return type(value)(given) if isinstance(given, str) and isinstance(value, int | float) else given


def usual() -> list[Ask]:
    """Two dozen asks of a dozen hosts."""
    asks = [
        Ask(id=1000 + n, machine_id=100 + n // 2, dph_base=0.40 + n / 100, min_bid=0.20 + n / 200) for n in range(12)
    ]
    asks += [
        Ask(
            id=2000 + n,
            machine_id=200 + n,
            gpu_name="RTX 3060",  # the catalogue does not know it
            gpu_ram=12288,
            dph_base=0.10 + n / 100,
            min_bid=0.05 + n / 200,
            geolocation="Texas, US",
            cpu_ram=32_000,
            cpu_cores_effective=8.0,
        )
        for n in range(6)
    ]
    asks += [
        Ask(
            id=3000 + n,
            machine_id=300 + n,
            gpu_name=name,
            num_gpus=count,
            gpu_ram=mb,
            dph_base=price,
            min_bid=price / 2,
            geolocation=place,
            gpu_frac=1.0,
            cpu_cores_effective=64.0,
            cpu_ram=512_000,
            datacenter=True,
        )
        for n, (name, count, mb, price, place) in enumerate(
            (
                ("A100 SXM4", 8, 40536, 6.4, "Norway, NO"),
                ("A100 SXM4", 8, 81559, 8.8, "Norway, NO"),
                ("A100 PCIE", 1, 81559, 0.9, "Quebec, CA"),
                ("H100 SXM", 8, 81559, 16.0, "Iceland, IS"),
                ("H100 NVL", 2, 95830, 4.2, "Iceland, IS"),
                ("Tesla T4", 1, 15360, 0.15, "Belgium, BE"),
            )
        )
    ]
    asks += [
        Ask(id=4001, machine_id=401, dph_base=0.05, min_bid=0.02, reliability=0.80),
        Ask(id=4002, machine_id=402, dph_base=0.05, min_bid=0.02, direct_port_count=0),
        Ask(id=4003, machine_id=403, dph_base=0.05, min_bid=0.02, verification="unverified"),
        Ask(id=4004, machine_id=404, dph_base=0.05, min_bid=0.02, duration=600.0),
        Ask(id=4005, machine_id=405, dph_base=0.05, min_bid=0.02, external=True),
    ]
    return asks
