"""What lists tell: instances as they are seen at first, pages, and what may not be removed while it is in use."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from .launches import as_pending
from .market import KINDS
from .wire import Refused, Request, element, listed, numbered, paged
from .world import Known, World

__all__ = ["PAGED", "check_unseen", "describe_instances", "describe_regions", "list_page", "security_group_in_use"]

PAGED = {
    "DescribeImages": "imagesSet",
    "DescribeInstanceTypeOfferings": "instanceTypeOfferingSet",
    "DescribeInstanceTypes": "instanceTypeSet",
    "DescribeLaunchTemplates": "launchTemplates",
    "DescribeSecurityGroups": "securityGroupInfo",
    "DescribeSubnets": "subnetSet",
    "DescribeVolumes": "volumeSet",
}
"""Lists that moto gives whole, and where their items are."""
ALWAYS = {"DescribeInstanceTypeOfferings", "DescribeInstanceTypes"}
"""Those of which AWS gives pages even where none are asked for."""
OWN_FILTERS = {"instance-state-name", "instance-lifecycle"}
"""What is filtered by what is told, not by what moto has; moto fails on the second."""


def check_unseen(world: World, request: Request) -> None:
    """Know nothing of instances that are too new.

    Raises:
        Refused: the call names one.
    """
    for each in (*listed(request.params, "InstanceId"), *listed(request.params, "ResourceId")):
        known = world.known.get(each)
        if known is not None and known.unseen:
            known.unseen -= 1
            raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{each}' does not exist")


def without(params: Mapping[str, str], names: set[str]) -> dict[str, str]:
    """Fields without the filters of these names, and without those of pages."""
    kept = [each for each in numbered(params, "Filter") if each["Name"] not in names]
    made = {f"Filter.{place}.{name}": value for place, each in enumerate(kept, 1) for name, value in each.items()}
    rest = {name: value for name, value in params.items() if not name.startswith("Filter.")}
    return {name: value for name, value in (rest | made).items() if name not in {"MaxResults", "NextToken"}}


def describe_instances(world: World, request: Request) -> ET.Element:
    """DescribeInstances: moto's, as it would be seen so soon after a launch or an end."""
    params = request.params
    filters = {each["Name"]: set(listed(each, "Value")) for each in numbered(params, "Filter")}
    if listed(params, "InstanceId") and "MaxResults" in params:
        text = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise Refused("InvalidParameterCombination", text)
    told = world.ec2(request.region, "DescribeInstances", without(params, OWN_FILTERS))
    by_tags = any(name.startswith("tag") for name in filters)
    reservations = told.find("reservationSet")
    assert reservations is not None
    for reservation in list(reservations):
        instances = reservation.find("instancesSet")
        assert instances is not None
        for item in list(instances):
            known = world.known.get(item.findtext("instanceId", ""))
            if (known is not None and not _seen(known, item, by_tags)) or not _fits(item, filters):
                instances.remove(item)
        if not len(instances):
            reservations.remove(reservation)
    page, token = paged(list(reservations), 1000, params.get("MaxResults"), params.get("NextToken"))
    reservations[:] = page
    told.append(element("nextToken", token or ""))
    return told


def _seen(known: Known, item: ET.Element, by_tags: bool) -> bool:
    """Let the item be told as it is seen; false for not at all. It counts."""
    if known.unseen:
        known.unseen -= 1
        return False
    if by_tags and known.untagged:
        known.untagged -= 1
        return False
    state = item.find("instanceState")
    assert state is not None
    if known.lot.market == "spot":
        item.append(element("spotInstanceRequestId", f"sir-{known.id[-8:]}"))
    if known.gone and known.reason is not None:
        reason = item.find("stateReason")
        if reason is not None:
            item.remove(reason)
        code, message = known.reason
        item.append(element("stateReason", {"code": code, "message": message}))
        if known.shutting_down:
            known.shutting_down -= 1
            state[:] = [element("code", "32"), element("name", "shutting-down")]
    elif known.pending:
        known.pending -= 1
        as_pending(item)
    return True


def _fits(item: ET.Element, filters: Mapping[str, set[str]]) -> bool:
    states, cycles = filters.get("instance-state-name"), filters.get("instance-lifecycle")
    fits = states is None or item.findtext("instanceState/name") in states
    return fits and (cycles is None or item.findtext("instanceLifecycle", "") in cycles)


def list_page(world: World, request: Request) -> ET.Element:
    """A list of moto's, a page at a time where AWS does so. Types are those of the market."""
    params = without(request.params, set())
    if request.action == "DescribeInstanceTypes":
        asked = listed(params, "InstanceType") or [name for name in KINDS if name in world.market.prices]
        if unknown := [name for name in asked if name not in KINDS]:
            raise Refused("InvalidInstanceType", f"The following supplied instance types do not exist: {unknown}")
        params = {name: value for name, value in params.items() if not name.startswith("InstanceType.")}
        params |= {f"InstanceType.{place}": name for place, name in enumerate(asked, 1)}
    told = _asked(world, request, params)
    items = told.find(PAGED[request.action])
    assert items is not None
    every = list(items)
    if request.action == "DescribeInstanceTypeOfferings":
        every = [item for item in every if item.findtext("instanceType") in world.market.prices]
    whole = "MaxResults" not in request.params and request.action not in ALWAYS
    size = len(every) or 1 if whole else world.market.page
    items[:], token = paged(every, size, request.params.get("MaxResults"), request.params.get("NextToken"))
    for old in told.findall("nextToken"):
        told.remove(old)
    told.append(element("nextToken", token or ""))
    return told


def describe_regions(world: World, request: Request) -> ET.Element:
    """Those that are enabled for the account."""
    told = world.ec2(request.region, request.action, request.params)
    rows = told.find("regionInfo")
    assert rows is not None
    rows[:] = [each for each in rows if world.regions is None or each.findtext("regionName") in world.regions]
    return told


def _asked(world: World, request: Request, params: Mapping[str, str]) -> ET.Element:
    """Moto's answer; what never changes is kept, since moto takes a second to tell it."""
    if request.action not in ALWAYS:
        return world.ec2(request.region, request.action, params)
    key = (request.region, tuple(sorted(params.items())))
    if key not in _KEPT:
        _KEPT[key] = world.ec2(request.region, request.action, params)
    return copy.deepcopy(_KEPT[key])


_KEPT: dict[tuple[str, tuple[tuple[str, str], ...]], ET.Element] = {}


def security_group_in_use(world: World, request: Request) -> None:
    """Keep a group that an instance has, also one that shuts down.

    Raises:
        Refused: an instance has it.
    """
    group = request.params.get("GroupId", "")
    for known in world.known.values():
        if known.region != request.region or (known.gone and not known.shutting_down):
            continue
        told = world.ec2(request.region, "DescribeInstances", {"InstanceId.1": known.id})
        groups = {each.text for each in told.iter("groupId")}
        if group in groups:
            raise Refused("DependencyViolation", f"resource {group} has a dependent object")
