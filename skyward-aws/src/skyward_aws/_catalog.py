"""The machines that a region has: what each is, and in which zones it is sold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import batched
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from skyward import Accelerator, ConfigurationError

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["Kind", "kinds_of", "known", "read"]

_AT_ONCE = 100
"""Instance types that DescribeInstanceTypes takes in one question."""


def _tuple(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Kind:
    """An instance type.

    Attributes:
        name: of AWS, such as ``"g5.xlarge"``.
        vcpu: virtual CPUs.
        memory_gb: in GB of 10**9 bytes.
        architecture: ``"x86_64"`` or ``"arm64"``.
        accelerator: what it has, in words that ``Accelerator.parse`` reads; empty for none.
        odd: whether it has a device that skyward has no name for, or a part of one.
        on_demand: whether it is sold so.
        spot: likewise.
        plain: whether it is a machine for anybody: neither burstable, whose price is not its whole cost, nor bare
            metal, which takes long to boot, nor of an earlier generation.
        zones: where it is sold.
    """

    name: str
    vcpu: int
    memory_gb: float
    architecture: str
    accelerator: str = ""
    odd: bool = False
    on_demand: bool = True
    spot: bool = True
    plain: bool = True
    zones: tuple[str, ...] = field(default=(), converter=_tuple)


async def known(api: Api) -> list[dict[str, Any]]:
    """All kinds of the region, as what JSON can hold; some ten questions, which are asked at the same time."""
    offerings = await api.pages(
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        PaginationConfig={"PageSize": 1000},
    )
    zones: dict[str, set[str]] = {}
    for each in offerings:
        zones.setdefault(each["InstanceType"], set()).add(each["Location"])
    answers = await asyncio.gather(
        *(
            api.pages("describe_instance_types", "InstanceTypes", InstanceTypes=list(names))
            for names in batched(sorted(zones), _AT_ONCE)
        )
    )
    found = [read(facts, zones[facts["InstanceType"]]) for answer in answers for facts in answer]
    return [asdict(kind) for kind in found if kind is not None]


def kinds_of(told: Iterable[Mapping[str, Any]]) -> dict[str, Kind]:
    """What ``known`` gave, by name."""
    return {each["name"]: Kind(**each) for each in told}


def read(facts: Mapping[str, Any], zones: Iterable[str]) -> Kind | None:
    """A kind from what DescribeInstanceTypes says; ``None`` for what cannot be a node, such as a Mac."""
    architectures = facts.get("ProcessorInfo", {}).get("SupportedArchitectures", ())
    architecture = next((each for each in ("x86_64", "arm64") if each in architectures), None)
    if architecture is None or "hvm" not in facts.get("SupportedVirtualizationTypes", ("hvm",)):
        return None
    if "ebs" not in facts.get("SupportedRootDeviceTypes", ("ebs",)):
        return None
    accelerator, odd = _accelerator(facts)
    markets = facts.get("SupportedUsageClasses", ("on-demand", "spot"))
    bare, burst = facts.get("BareMetal", False), facts.get("BurstablePerformanceSupported", False)
    return Kind(
        name=facts["InstanceType"],
        vcpu=facts.get("VCpuInfo", {}).get("DefaultVCpus", 0),
        memory_gb=round(facts.get("MemoryInfo", {}).get("SizeInMiB", 0) * 2**20 / 1e9, 3),
        architecture=architecture,
        accelerator=accelerator,
        odd=odd,
        on_demand="on-demand" in markets,
        spot="spot" in markets,
        plain=not bare and not burst and (bool(accelerator) or facts.get("CurrentGeneration", True)),
        zones=sorted(zones),
    )


def _accelerator(facts: Mapping[str, Any]) -> tuple[str, bool]:
    """The device, and whether there is one that has no name here."""
    devices = [
        *facts.get("GpuInfo", {}).get("Gpus", ()),
        *facts.get("NeuronInfo", {}).get("NeuronDevices", ()),
    ] or [*facts.get("InferenceAcceleratorInfo", {}).get("Accelerators", ())]
    others = any(name in facts for name in ("FpgaInfo", "MediaAcceleratorInfo"))
    if not devices:
        return "", others or any(name in facts for name in ("GpuInfo", "NeuronInfo", "InferenceAcceleratorInfo"))
    first, *more = devices
    name, count = str(first.get("Name", "")), int(first.get("Count", 0))
    if more or count < 1:  # several kinds in one machine, or a part of a device
        return "", True
    mib = first.get("MemoryInfo", {}).get("SizeInMiB", 0)
    # AWS tells MiB that the system sees. Some are those of the vendor's name, and some are a little less.
    for memory in (f"{mib / 1024:g}GB", None):
        try:
            return str(Accelerator(name, count=count, memory=memory)), False
        except ConfigurationError:
            continue
    return "", True
