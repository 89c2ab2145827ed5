"""What moto has no answer to: Price List, spot prices, quotas, placement scores, public parameters. Pure."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .market import KINDS, QUOTAS, Market
from .wire import Refused, Request, listed, numbered, paged

__all__ = ["IMAGES", "image_of", "parameters", "placement_scores", "products", "quotas", "spot_history"]

ZONES = "abcdef"
_SINCE = "2026-01-01T00:00:00.000Z"

_UBUNTU = "/aws/service/canonical/ubuntu/server/{release}/stable/current/{name}/hvm/ebs-{disk}/ami-id"
_GPU = "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-{release}/latest/ami-id"
_NEURON = "/aws/service/neuron/dlami/base/ubuntu-{release}/latest/image_id"


def _public() -> Iterator[tuple[str, str, str]]:
    """Names of parameters, with the architecture and the name of the image that each stands for."""
    for release, disk in (("24.04", "gp3"), ("22.04", "gp2")):
        for name, arch in (("amd64", "x86_64"), ("arm64", "arm64")):
            yield _UBUNTU.format(release=release, name=name, disk=disk), arch, f"ubuntu-{release}-{name}"
            yield _GPU.format(release=release, arch=arch), arch, f"gpu-ubuntu-{release}-{arch}"
        yield _NEURON.format(release=release), "x86_64", f"neuron-ubuntu-{release}"


PARAMETERS = {name: f"ami-{number:017x}" for number, (name, _, _) in enumerate(_public(), 0xABC0)}
"""The public parameters of SSM that there are, and their values: the same in all regions."""
IMAGES: list[dict[str, Any]] = [
    {
        "ami_id": PARAMETERS[parameter],
        "name": name,
        "description": name,
        "owner_id": "099720109477",
        "public": True,
        "virtualization_type": "hvm",
        "architecture": arch,
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "image_location": f"rig/{name}",
        "hypervisor": "xen",
        "root_device_type": "ebs",
        "root_device_name": "/dev/sda1",
        "sriov": "simple",
    }
    for parameter, arch, name in _public()
]
"""The images that these are, in the form that moto reads."""


def image_of(text: str) -> str:
    """What is launched: an image's id as it is, and that of a parameter where ``resolve:ssm:`` names one."""
    name = text.removeprefix("resolve:ssm:")
    if name != text and name not in PARAMETERS:
        raise Refused("InvalidParameterValue", f"the parameter {name} does not exist")
    return PARAMETERS.get(name, text)


def parameters(request: Request) -> dict[str, Any] | None:
    """The answer to GetParameter and GetParameters about public ones; ``None`` is for moto to answer."""

    def value(name: str) -> dict[str, Any]:
        return {"Name": name, "Type": "String", "Value": PARAMETERS[name], "Version": 1, "DataType": "aws:ec2:image"}

    if request.action == "GetParameter":
        name = request.json["Name"]
        return {"Parameter": value(name)} if name in PARAMETERS else None
    names = request.json["Names"]
    if not set(names) & PARAMETERS.keys():
        return None
    found = [value(name) for name in names if name in PARAMETERS]
    return {"Parameters": found, "InvalidParameters": [name for name in names if name not in PARAMETERS]}


def products(request: Request, market: Market, regions: Sequence[str]) -> dict[str, Any]:
    """GetProducts: per type and region what Linux costs, and beside it what one must tell from that."""
    if request.json.get("ServiceCode") != "AmazonEC2":
        raise Refused("NotFoundException", f"there is no service {request.json.get('ServiceCode')}")
    wanted = {each["Field"]: each["Value"] for each in request.json.get("Filters", ())}
    found = []
    for region in regions:
        for name in market.prices:
            for changes, factor in _VARIANTS:
                attributes = {"instanceType": name, "regionCode": region, **_attributes(name), **changes}
                if all(attributes.get(key, attributes.get(key.lower())) == value for key, value in wanted.items()):
                    found.append(_product(attributes, market.on_demand_price(name, region) * factor))
    size = min(int(request.json.get("MaxResults", 100)), 100)
    page, token = paged(found, min(size, market.page), None, request.json.get("NextToken"))
    return {"FormatVersion": "aws_v1", "PriceList": page, **({"NextToken": token} if token else {})}


_VARIANTS: tuple[tuple[dict[str, str], float], ...] = (
    ({}, 1),
    ({"operatingSystem": "Windows"}, 1.9),
    ({"tenancy": "Dedicated"}, 1.06),
    ({"preInstalledSw": "SQL Std"}, 4),
    ({"capacitystatus": "AllocatedCapacityReservation"}, 0),
    ({"marketoption": "CapacityBlock"}, 0),
)


def _attributes(name: str) -> dict[str, str]:
    return {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "licenseModel": "No License required",
        "servicecode": "AmazonEC2",
        "vcpu": str(KINDS[name].vcpus),
        "memory": KINDS[name].memory,
    }


def _product(attributes: Mapping[str, str], price: float) -> str:
    sku = f"SKU{abs(hash(tuple(attributes.items()))):X}"[:16]
    dimension = {"unit": "Hrs", "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": f"{price:.10f}"}}
    term = {"sku": sku, "priceDimensions": {f"{sku}.JRTCKXETXF.6YS6EN2CT7": dimension}, "termAttributes": {}}
    product = {"productFamily": "Compute Instance", "attributes": attributes, "sku": sku}
    terms = {"OnDemand": {f"{sku}.JRTCKXETXF": term}}
    return json.dumps({"product": product, "serviceCode": "AmazonEC2", "terms": terms})


def spot_history(request: Request, market: Market) -> dict[str, Any]:
    """DescribeSpotPriceHistory: the price of now per type and zone, and a higher one of a year ago."""
    params = request.params
    filters = {each["Name"]: set(listed(each, "Value")) for each in numbered(params, "Filter")}
    types = set(listed(params, "InstanceType")) or filters.get("instance-type") or set(market.prices)
    zones = {params.get("AvailabilityZone", "")} - {""} or filters.get("availability-zone")
    systems = set(listed(params, "ProductDescription")) or filters.get("product-description")
    rows = []
    for name in sorted(types & market.prices.keys()):
        for zone in (f"{request.region}{letter}" for letter in ZONES):
            price = market.spot_price(name, zone)
            if price is None or (zones and zone not in zones):
                continue
            for system, factor in (("Linux/UNIX", 1.0), ("Windows", 1.9)):
                if not systems or system in systems:
                    rows += [(name, zone, system, price * factor, _SINCE)]
                    rows += [(name, zone, system, price * factor * 2, "2025-01-01T00:00:00.000Z")]
    start = params.get("StartTime")
    if start and dt.datetime.fromisoformat(start) > dt.datetime.fromisoformat(_SINCE):
        rows = [row for row in rows if row[-1] == _SINCE]  # what held at that moment, and what came since: nothing
    page, token = paged(rows, market.page, params.get("MaxResults"), params.get("NextToken"))
    names = ("instanceType", "availabilityZone", "productDescription", "spotPrice", "timestamp")
    history = [dict(zip(names, (*row[:3], f"{row[3]:.6f}", row[4]), strict=True)) for row in page]
    return {"requestId": "rig", "spotPriceHistorySet": history, "nextToken": token or ""}


def placement_scores(request: Request, market: Market) -> dict[str, Any]:
    """GetSpotPlacementScores: 9 where a wanted type is sold as spot, else 1."""
    types = set(listed(request.params, "InstanceType"))
    score = 9 if types & (market.prices.keys() - market.without_spot) else 1
    regions = listed(request.params, "RegionName") or [request.region]
    rows: list[dict[str, Any]] = [{"region": region, "score": score} for region in regions]
    if request.params.get("SingleAvailabilityZone") == "true":
        zones = range(1, len(ZONES) + 1)
        rows = [{**row, "availabilityZoneId": f"{_short(row['region'])}-az{zone}"} for row in rows for zone in zones]
    return {"requestId": "rig", "spotPlacementScoreSet": rows}


def _short(region: str) -> str:
    """``use1`` for ``us-east-1``."""
    return re.sub(r"-(\w)\w*", r"\1", region)


def quotas(request: Request, market: Market) -> dict[str, Any]:
    """GetServiceQuota and ListServiceQuotas of EC2."""
    if request.json.get("ServiceCode") != "ec2":
        raise Refused("NoSuchResourceException", "the rig knows the quotas of ec2 alone")
    every = [
        {"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": name, "Value": market.quotas[code], "Adjustable": True}
        for code, name in QUOTAS.values()
    ]
    if request.action == "GetServiceQuota":
        for each in every:
            if each["QuotaCode"] == request.json["QuotaCode"]:
                return {"Quota": each}
        raise Refused("NoSuchResourceException", f"there is no quota {request.json['QuotaCode']}")
    page, token = paged(every, market.page, request.json.get("MaxResults"), request.json.get("NextToken"))
    return {"Quotas": page, **({"NextToken": token} if token else {})}
