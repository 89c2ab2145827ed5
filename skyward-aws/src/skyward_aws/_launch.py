"""The request that buys machines, and what its answer says. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward import ProviderError
from skyward.spi import Market, Offer
from skyward_aws._ami import Image
from skyward_aws._errors import combined, refused
from skyward_aws._tags import specification

if TYPE_CHECKING:
    from skyward_aws._settings import AWS

__all__ = ["Bought", "batches", "bought", "fleet", "reasons", "template"]

_MOST = 300
"""Combinations of type and zone that one request may have, of
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/fleet-quotas.html."""


@frozen
class Bought:
    """A machine that the answer tells of: its id, its type, and its zone's subnet."""

    id: str
    instance_type: str
    subnet: str


def template(
    settings: AWS, image: Image, *, key: str, group: str, user_data: str, tags: Mapping[str, str], market: Market
) -> dict[str, Any]:
    """What all machines of a request have in common, as the data of a launch template.

    Args:
        settings: the user's.
        image: what they boot.
        key: name of the key pair.
        group: id of the security group.
        user_data: what they do at their boot.
        tags: what they bear, from the moment on at which they are created.
        market: on which they are bought.
    """
    requests = ("spot-instances-request",) if market == "spot" else ()
    profile = {} if settings.instance_profile is None else {"IamInstanceProfile": {"Name": settings.instance_profile}}
    return {
        "ImageId": image.id,
        "KeyName": key,
        "UserData": base64.b64encode(user_data.encode()).decode(),
        # Whatever ends the machine from the inside ends what it costs.
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [
            {
                "DeviceName": image.device,
                "Ebs": {
                    "VolumeSize": max(settings.disk_gb, image.size),
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": settings.public_ip,
                "DeleteOnTermination": True,
                "Groups": [group],
            }
        ],
        "TagSpecifications": specification(tags, "instance", "volume", "network-interface", *requests),
        **profile,
    }


def batches(offers: Sequence[Offer], subnets: Mapping[str, str]) -> Iterator[list[Offer]]:
    """The offers in rows that one request takes, in their order; those of no zone that has a subnet are left out."""
    row: list[Offer] = []
    size = 0
    for offer in offers:
        places = len(_zones(offer, subnets))
        if row and size + places > _MOST:
            yield row
            row, size = [], 0
        if places:
            row.append(offer)
            size += places
    if row:
        yield row


def fleet(
    offers: Sequence[Offer],
    templates: Mapping[str, Sequence[Offer]],
    subnets: Mapping[str, str],
    *,
    nodes: int,
    market: Market,
    max_price: float | None,
    tags: Mapping[str, str],
    token: str,
) -> dict[str, Any]:
    """The request for machines, of any of these offers and zones.

    On spot AWS weighs price against the danger of interruption; on demand it tries the offers in their order.

    Args:
        offers: in the order in which they are wanted.
        templates: the same by the id of their launch template.
        subnets: a subnet for each zone.
        nodes: how many machines.
        market: on which they are bought.
        max_price: dollars for an hour that a spot machine may cost, now and later; ``None`` for what it costs on
            demand, which is AWS's own limit.
        tags: of the request itself.
        token: makes AWS carry out the request once, however often it comes.
    """
    limit = {} if market != "spot" or max_price is None else {"MaxPrice": _price(max_price)}
    ranks = {offer.instance_type: float(rank) for rank, offer in enumerate(offers)}
    return {
        "Type": "instant",
        "ClientToken": token,
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": name, "Version": "1"},
                "Overrides": [
                    {
                        "InstanceType": offer.instance_type,
                        "SubnetId": subnets[zone],
                        "Priority": ranks[offer.instance_type],
                        **limit,
                    }
                    for offer in row
                    for zone in _zones(offer, subnets)
                ],
            }
            for name, row in templates.items()
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": nodes, "DefaultTargetCapacityType": market},
        **(
            {
                "SpotOptions": {
                    "AllocationStrategy": "price-capacity-optimized",
                    "InstanceInterruptionBehavior": "terminate",
                }
            }
            if market == "spot"
            else {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
        ),
        "TagSpecifications": specification(tags, "fleet"),
    }


def bought(answer: Mapping[str, Any]) -> list[Bought]:
    """The machines in an answer."""
    return [
        Bought(str(name), str(each.get("InstanceType", "")), _override(each).get("SubnetId", ""))
        for each in answer.get("Instances") or ()
        for name in each.get("InstanceIds", ())
    ]


def reasons(
    answer: Mapping[str, Any], offers: Iterable[Offer], subnets: Mapping[str, str], region: str
) -> ProviderError:
    """Why an answer has fewer machines than were asked for: each type with the zones where that was so."""
    zones = {subnet: zone for zone, subnet in subnets.items()}
    markets = {offer.instance_type: offer.market for offer in offers}
    where: dict[tuple[str, str, str], list[str]] = {}
    for each in answer.get("Errors") or ():
        override = _override(each)
        kind = str(override.get("InstanceType", ""))
        code, message = str(each.get("ErrorCode", "")), str(each.get("ErrorMessage", ""))
        zone = zones.get(override.get("SubnetId", ""), "") or str(override.get("AvailabilityZone", ""))
        told = where.setdefault((kind, code, "" if code == "InsufficientInstanceCapacity" else message), [])
        if zone and zone not in told:
            told.append(zone)
    return combined(_told(key, zones, markets, region) for key, zones in where.items())


def _told(key: tuple[str, str, str], zones: Sequence[str], markets: Mapping[str, Market], region: str) -> ProviderError:
    kind, code, message = key
    error = refused(
        code, message or "no capacity", "ec2:CreateFleet", region, kind=kind, market=markets.get(kind, "on-demand")
    )
    place = f" in {', '.join(sorted(zones))}" if zones else ""
    return type(error)(f"{kind}{place}: {error}" if kind else str(error))


def _price(dollars: float) -> str:
    """An amount as AWS writes prices, to the millionth, and never more than it is."""
    return f"{math.floor(dollars * 1e6 + 1e-3) / 1e6:.6f}"


def _override(each: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (each.get("LaunchTemplateAndOverrides") or {}).get("Overrides") or {}
    return found


def _zones(offer: Offer, subnets: Mapping[str, str]) -> list[str]:
    zones = offer.details.get("zones")
    return [zone for zone in zones if zone in subnets] if isinstance(zones, (list, tuple)) else []
