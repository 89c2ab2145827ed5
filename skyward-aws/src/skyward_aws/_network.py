"""Where machines are put, and from where they may be reached."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward import Unavailable

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["Subnets", "caller", "rules", "subnets"]

_MIRROR = "https://checkip.amazonaws.com"
_PATIENCE = 10.0


@frozen
class Subnets:
    """The subnets that machines may be put in, all of one VPC.

    Attributes:
        vpc: its id.
        by_zone: a subnet's id for each zone.
    """

    vpc: str
    by_zone: dict[str, str]


async def subnets(api: Api, subnet: str | None) -> Subnets:
    """The subnet of the settings, or those of the default VPC.

    Raises:
        Unavailable: there is none.
    """
    if subnet is None:
        chosen = {"Name": "default-for-az", "Values": ["true"]}
    else:
        chosen = {"Name": "subnet-id", "Values": [subnet]}
    found = await api.pages("describe_subnets", "Subnets", Filters=[chosen])
    if not found:
        raise Unavailable(
            f"there is no subnet {subnet} in {api.region}: give the id of one of this region in AWS(subnet=...)"
            if subnet is not None
            else f"the account has no default VPC in {api.region}: make one with `aws ec2 create-default-vpc --region "
            f"{api.region}`, or give a subnet of your own in AWS(subnet=...)"
        )
    return Subnets(str(found[0]["VpcId"]), {each["AvailabilityZone"]: each["SubnetId"] for each in found})


async def caller() -> tuple[str, ...]:
    """The address under which this machine is seen from outside, as a network.

    Raises:
        Unavailable: nobody tells it.
    """
    told = await asyncio.to_thread(_asked)
    try:
        return (str(ipaddress.ip_network(told)),)
    except ValueError:
        raise Unavailable(
            f"{_MIRROR} does not tell under which address this machine is seen ({told[:80]!r}): give the networks from "
            "which the nodes may be reached, as in AWS(ssh_from='203.0.113.7/32')"
        ) from None


def _asked() -> str:
    from urllib.request import urlopen

    try:
        with urlopen(_MIRROR, timeout=_PATIENCE) as answer:
            return str(answer.read(200).decode("ascii", "replace").strip())
    except OSError as error:
        return f"no answer: {error}"


def rules(group: str, networks: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the security group lets in: SSH from these networks, if any, and everything from the pool's own nodes."""
    four = [each for each in networks if ipaddress.ip_network(each).version == 4]
    six = [each for each in networks if ipaddress.ip_network(each).version == 6]
    ssh = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        **({"IpRanges": [{"CidrIp": each, "Description": "skyward's client"} for each in four]} if four else {}),
        **({"Ipv6Ranges": [{"CidrIpv6": each, "Description": "skyward's client"} for each in six]} if six else {}),
    }
    own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "Description": "skyward's nodes"}]}
    return [ssh, own] if networks else [own]
