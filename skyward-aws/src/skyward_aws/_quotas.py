"""The quotas of EC2 by the kind of machine, with the page on which each is raised. Pure.

Names and codes are those of ``aws service-quotas list-service-quotas --service-code ec2``; all count virtual CPUs.
"""

from __future__ import annotations

import re

__all__ = ["quota"]

_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"

# By the letters that an instance type begins with: name and code on demand, name and code on spot.
_FAMILIES: dict[str, tuple[str, str, str, str]] = {
    "": (
        f"Running On-Demand {_STANDARD} instances",
        "L-1216C47A",
        f"All {_STANDARD} Spot Instance Requests",
        "L-34B43A08",
    ),
    "dl": ("Running On-Demand DL instances", "L-6E869C2A", "All DL Spot Instance Requests", "L-85EED4F7"),
    "f": ("Running On-Demand F instances", "L-74FC7D96", "All F Spot Instance Requests", "L-88CF9481"),
    "g": ("Running On-Demand G and VT instances", "L-DB2E81BA", "All G and VT Spot Instance Requests", "L-3819A6DF"),
    "inf": ("Running On-Demand Inf instances", "L-1945791B", "All Inf Spot Instance Requests", "L-B5D1601B"),
    "p": ("Running On-Demand P instances", "L-417A185B", "All P4, P3 and P2 Spot Instance Requests", "L-7212CCBC"),
    "trn": ("Running On-Demand Trn instances", "L-2C3B7624", "All Trn Spot Instance Requests", "L-6B0D517C"),
    "x": ("Running On-Demand X instances", "L-7295265B", "All X Spot Instance Requests", "L-E3A00192"),
}
_SAME = {"gr": "g", "vt": "g"}
_OWN_SPOT = {"p5": ("All P5 Spot Instance Requests", "L-C4BD4855")}
_STANDARD_LETTERS = frozenset("acdhimrtz")
_PER_VCPU = {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded"}


def quota(code: str, kind: str, market: str, region: str) -> str:
    """Which quota it is, and where it is raised, in words.

    Args:
        code: of AWS's error.
        kind: the instance type; empty if nobody knows.
        market: ``"spot"`` or ``"on-demand"``.
        region: the quota's.
    """
    page = f"https://{region}.console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
    name, number = _named(kind, market) if code in _PER_VCPU and kind else ("", "")
    if not number:
        return f"raise the quota at {page}"
    return f"raise the quota {name!r} ({number}, in vCPUs) at {page}/{number}"


def _named(kind: str, market: str) -> tuple[str, str]:
    letters = re.match(r"[a-z]*", kind)
    family = "" if letters is None else letters[0]
    family = _SAME.get(family, family)
    if family[:1] in _STANDARD_LETTERS and family not in _FAMILIES:
        family = ""
    if family not in _FAMILIES:
        return "", ""
    name, number, spot_name, spot_number = _FAMILIES[family]
    if market != "spot":
        return name, number
    return _OWN_SPOT.get(kind[:2], (spot_name, spot_number))
