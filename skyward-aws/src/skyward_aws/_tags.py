"""The tags of everything that a pool has, and machines as they are told from theirs. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from skyward.spi import Instance, InstanceState, PoolIdentity

__all__ = [
    "ANY",
    "DEADLINE",
    "ORDER",
    "POOL",
    "belonging",
    "instance",
    "of_pool",
    "pairs",
    "specification",
    "tags_of",
    "told",
]

POOL, OWNER, CLIENT = "skyward-pool", "skyward-owner", "skyward-client"
DEADLINE, ORDER = "skyward-deadline", "skyward-order"
ANY = {"Name": "tag-key", "Values": [POOL]}
"""The filter that finds what belongs to any pool."""

_LONGEST = 256
_STATES = {"pending": InstanceState.PENDING, "running": InstanceState.RUNNING}
# One that is stopped exists, and its disk costs; it is not gone before it is terminated.
_STANDING = {"stopping": InstanceState.PENDING, "stopped": InstanceState.PENDING}


def of_pool(pool_id: str) -> dict[str, Any]:
    """The filter that finds what belongs to a pool."""
    return {"Name": f"tag:{POOL}", "Values": [pool_id]}


def tags_of(identity: PoolIdentity) -> dict[str, str]:
    """What everything of a pool bears."""
    deadline = "" if identity.deadline is None else f"{identity.deadline:.3f}"
    return {
        "Name": f"skyward {identity.pool_id}"[:_LONGEST],
        POOL: identity.pool_id,
        OWNER: identity.owner[:_LONGEST],
        CLIENT: identity.client,
        DEADLINE: deadline,
    }


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as AWS takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(tags: Mapping[str, str], *resources: str) -> list[dict[str, Any]]:
    """Tags for what a request creates, by the kinds of it."""
    return [{"ResourceType": resource, "Tags": pairs(tags)} for resource in resources]


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """The tags of what AWS describes."""
    return {each["Key"]: each.get("Value", "") for each in facts.get("Tags") or ()}


def instance(facts: Mapping[str, Any], region: str) -> Instance:
    """A machine from what DescribeInstances says."""
    tags = told(facts)
    name = facts.get("State", {}).get("Name", "")
    state = _STATES.get(name) or _STANDING.get(name) or InstanceState.GONE
    address = facts.get("PublicIpAddress") or facts.get("PrivateIpAddress")
    if state is InstanceState.RUNNING and not address:
        state = InstanceState.PENDING
    return Instance(
        id=str(facts["InstanceId"]),
        state=state,
        pool_id=tags.get(POOL, ""),
        ip=address,
        private_ip=facts.get("PrivateIpAddress"),
        deadline=_number(tags.get(DEADLINE, "")),
        owner=tags.get(OWNER, ""),
        client=tags.get(CLIENT, ""),
        details={
            "region": region,
            "state": name,
            "instance_type": facts.get("InstanceType", ""),
            "zone": facts.get("Placement", {}).get("AvailabilityZone", ""),
            "market": "spot" if facts.get("InstanceLifecycle") == "spot" else "on-demand",
        },
    )


def belonging(facts: Mapping[str, Any], name: str, region: str) -> Instance:
    """What a pool has beside machines, told as machines are: by the region and the id, as ``eu-west-1/key-0f2a``."""
    tags = told(facts)
    return Instance(
        id=f"{region}/{name}",
        state=InstanceState.PENDING,
        pool_id=tags.get(POOL, ""),
        deadline=_number(tags.get(DEADLINE, "")),
        owner=tags.get(OWNER, ""),
        client=tags.get(CLIENT, ""),
        details={"region": region},
    )


def _number(text: str) -> float | None:
    """Seconds since the epoch; ``None`` for no limit, and for what somebody has made of the tag by hand."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
