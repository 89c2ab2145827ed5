"""What is for sale, at what price, and how much of it is left: set by the test, asked by the proxy."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Literal

from attrs import define, field, frozen

from .wire import Refused

__all__ = ["KINDS", "Kind", "Lot", "Market"]

type Purchase = Literal["spot", "on-demand"]


@frozen
class Kind:
    """An instance type: its dollars per hour on demand in us-east-1, about as of 2025, and what it has."""

    name: str
    price: float
    vcpus: int
    memory: str

    @property
    def quota(self) -> str:
        """The family that quotas are given for."""
        for family, start in (("P", "p"), ("G", "g"), ("Trn", "trn"), ("Inf", "inf")):
            if self.name.startswith(start):
                return family
        return "Standard"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("t3.micro", 0.0104, 2, "1 GiB"),
        Kind("t3.medium", 0.0416, 2, "4 GiB"),
        Kind("c7g.large", 0.0725, 2, "4 GiB"),
        Kind("c7i.large", 0.08925, 2, "4 GiB"),
        Kind("m7i.xlarge", 0.2016, 4, "16 GiB"),
        Kind("m7g.xlarge", 0.1632, 4, "16 GiB"),
        Kind("r7i.large", 0.1323, 2, "16 GiB"),
        Kind("g4dn.xlarge", 0.526, 4, "16 GiB"),
        Kind("g4dn.12xlarge", 3.912, 48, "192 GiB"),
        Kind("g5.xlarge", 1.006, 4, "16 GiB"),
        Kind("g5.12xlarge", 5.672, 48, "192 GiB"),
        Kind("g5g.xlarge", 0.42, 4, "8 GiB"),
        Kind("g6.xlarge", 0.8048, 4, "16 GiB"),
        Kind("p4d.24xlarge", 32.7726, 96, "1152 GiB"),
        Kind("p4de.24xlarge", 40.96575, 96, "1152 GiB"),
        Kind("p5.48xlarge", 98.32, 192, "2048 GiB"),
        Kind("trn1.2xlarge", 1.34375, 8, "32 GiB"),
        Kind("inf2.xlarge", 0.7582, 4, "16 GiB"),
    )
}

QUOTAS: dict[tuple[str, Purchase], tuple[str, str]] = {
    ("Standard", "on-demand"): ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    ("Standard", "spot"): ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    ("G", "on-demand"): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("G", "spot"): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("P", "on-demand"): ("L-417A185B", "Running On-Demand P instances"),
    ("P", "spot"): ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ("Trn", "on-demand"): ("L-2C3B7624", "Running On-Demand Trn instances"),
    ("Trn", "spot"): ("L-6B0D517C", "All Trn Spot Instance Requests"),
    ("Inf", "on-demand"): ("L-1945791B", "Running On-Demand Inf instances"),
    ("Inf", "spot"): ("L-B5D1601B", "All Inf Spot Instance Requests"),
}


@frozen
class Lot:
    """One pool of capacity, and also where an instance came from. ``*`` and the like match many."""

    type: str = "*"
    zone: str = "*"
    market: str = "*"

    def matches(self, lot: Lot) -> bool:
        pairs = ((lot.type, self.type), (lot.zone, self.zone), (lot.market, self.market))
        return all(fnmatch.fnmatchcase(name, pattern) for name, pattern in pairs)


@define
class _Refusal:
    lot: Lot
    error: Refused
    times: int


@define
class Market:
    """Everything is for sale in any number, until a test says otherwise."""

    page: int = 7
    """How many items the longest page has, so that every list of types or prices has several."""
    prices: dict[str, float] = field(factory=lambda: {kind.name: kind.price for kind in KINDS.values()})
    """Dollars per hour on demand in us-east-1; 1.1 times that elsewhere."""
    spot: dict[tuple[str, str], float] = field(factory=dict)
    """Dollars per hour by type and zone, where it is not 0.3 of the price on demand and 0.01 more of it per letter."""
    without_spot: set[str] = field(factory=lambda: {"trn1.2xlarge"})
    """Types that are never sold as spot, and have no spot price."""
    quotas: dict[str, float] = field(factory=lambda: {code: 100_000.0 for code, _ in QUOTAS.values()})
    """Virtual processors that may run at one time, by the quota's code."""
    _limits: list[tuple[Lot, int]] = field(factory=list)
    _refusals: list[_Refusal] = field(factory=list)

    def limit(self, number: int, kind: str = "*", zone: str = "*", market: str = "*") -> None:
        """At most so many instances at one time of what matches, all together: ``limit(1, zone="us-east-1a")``."""
        self._limits.insert(0, (Lot(kind, zone, market), number))

    def unlimited(self) -> None:
        """Forget the limits and refusals."""
        self._limits.clear()
        self._refusals.clear()

    def refuse(
        self,
        code: str = "InsufficientInstanceCapacity",
        kind: str = "*",
        zone: str = "*",
        market: str = "*",
        *,
        times: int = 10**9,
    ) -> None:
        """Refuse to launch what matches; a fleet tells that in its errors, and goes on with its other pools."""
        status = 500 if code in {"InsufficientInstanceCapacity", "InsufficientHostCapacity"} else 400
        message = f"We currently do not have sufficient {kind} capacity in {zone}."
        told = message if status == 500 else f"{code}, as scripted"
        self._refusals.append(_Refusal(Lot(kind, zone, market), Refused(code, told, status), times))

    def on_demand_price(self, kind: str, region: str) -> float:
        return round(self.prices[kind] * (1 if region == "us-east-1" else 1.1), 6)

    def spot_price(self, kind: str, zone: str) -> float | None:
        """What spot costs there; ``None`` where it is not sold."""
        if kind in self.without_spot:
            return None
        usual = self.on_demand_price(kind, zone[:-1]) * (0.3 + 0.01 * (ord(zone[-1]) - ord("a")))
        return self.spot.get((kind, zone), round(usual, 6))

    def available(self, lot: Lot, wanted: int, running: Iterable[Lot]) -> tuple[int, Refused | None]:
        """How many of the wanted can be had beside those that run, and why not more."""
        running = list(running)
        for refusal in self._refusals:
            if refusal.times and refusal.lot.matches(lot):
                refusal.times -= 1
                return 0, refusal.error
        if lot.market == "spot" and self.spot_price(lot.type, lot.zone) is None:
            return 0, Refused("Unsupported", f"Spot requests for {lot.type} are not supported.")
        left, reason = self._within_quota(lot, wanted, running)
        for limit, number in self._limits:
            free = max(number - sum(limit.matches(each) for each in running), 0) if limit.matches(lot) else wanted
            if free < left:
                text = f"We currently do not have sufficient {lot.type} capacity in {lot.zone}."
                left, reason = free, Refused("InsufficientInstanceCapacity", text, 500)
        return left, reason

    def _within_quota(self, lot: Lot, wanted: int, running: list[Lot]) -> tuple[int, Refused | None]:
        kind = KINDS[lot.type]
        code, _ = QUOTAS[kind.quota, "spot" if lot.market == "spot" else "on-demand"]
        same = [KINDS[each.type] for each in running if each.market == lot.market]
        used = sum(each.vcpus for each in same if each.quota == kind.quota)
        fit = max(int(self.quotas[code] - used) // kind.vcpus, 0)
        if fit >= wanted:
            return wanted, None
        if lot.market == "spot":
            return fit, Refused("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        text = f"You have requested more vCPU capacity than your current vCPU limit of {self.quotas[code]:.0f} allows"
        return fit, Refused("VcpuLimitExceeded", text)
