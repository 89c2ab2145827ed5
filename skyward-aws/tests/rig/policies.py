"""IAM: what a call needs, and whether a policy allows it.

What needs what is told by https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html.
Where that leaves open whether AWS goes by the tags of a request, the rig does.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from .launches import template_of
from .wire import Refused, Request, listed, numbered
from .world import World

__all__ = ["Check", "Decision", "allowing", "checks"]

ACCOUNT = "123456789012"
LISTS: dict[str, tuple[str, str, str]] = {
    "instance": ("DescribeInstances", "InstanceId.1", "reservationSet/item/instancesSet/item"),
    "key-pair": ("DescribeKeyPairs", "KeyName.1", "keySet/item"),
    "launch-template": ("DescribeLaunchTemplates", "LaunchTemplateId.1", "launchTemplates/item"),
    "security-group": ("DescribeSecurityGroups", "GroupId.1", "securityGroupInfo/item"),
    "volume": ("DescribeVolumes", "VolumeId.1", "volumeSet/item"),
}
CREATED = {
    "CreateLaunchTemplate": ("launch-template",),
    "CreateSecurityGroup": ("security-group",),
    "ImportKeyPair": ("key-pair",),
}
CHANGED = {
    "AuthorizeSecurityGroupIngress": ("security-group", "GroupId"),
    "DeleteKeyPair": ("key-pair", "KeyName"),
    "DeleteLaunchTemplate": ("launch-template", "LaunchTemplateId"),
    "DeleteSecurityGroup": ("security-group", "GroupId"),
    "DeleteVolume": ("volume", "VolumeId"),
}
SERVICES = {"servicequotas": "servicequotas", "tagging": "tag"}


@frozen
class Check:
    """Something that must be allowed: an action on a resource, and what conditions go by."""

    action: str
    resource: str = "*"
    context: Mapping[str, tuple[str, ...]] = field(factory=dict, hash=False)


@frozen
class Decision:
    """A check, and the numbers of the statements that allow it."""

    check: Check
    by: tuple[int, ...]


# ---- whether it is allowed


def allowing(document: Mapping[str, Any], check: Check) -> tuple[int, ...]:
    """The statements that allow it, by their number; none for a refusal."""
    assert all(each["Effect"] == "Allow" for each in document["Statement"])
    return tuple(number for number, each in enumerate(document["Statement"]) if _allows(each, check))


def _allows(statement: Mapping[str, Any], check: Check) -> bool:
    if not any(_like(check.action.lower(), each.lower()) for each in several(statement["Action"])):
        return False
    if not any(_like(check.resource, each) for each in several(statement["Resource"])):
        return False
    return all(
        CONDITIONS[operator](check.context.get(key, ()), several(values))
        for operator, row in statement.get("Condition", {}).items()
        for key, values in row.items()
    )


def several(value: str | list[str]) -> list[str]:
    """A value that may stand without its brackets."""
    return [value] if isinstance(value, str) else value


def _like(text: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None


CONDITIONS: dict[str, Callable[[tuple[str, ...], list[str]], bool]] = {
    "StringEquals": lambda found, wanted: bool(found) and all(each in wanted for each in found),
    "StringLike": lambda found, wanted: bool(found) and all(any(_like(f, w) for w in wanted) for f in found),
    "ForAllValues:StringEquals": lambda found, wanted: all(each in wanted for each in found),
}


# ---- what a call needs


def checks(world: World, request: Request) -> Iterator[Check]:
    """All that must be allowed for a call."""
    if request.service == "ec2":
        yield from _of_ec2(world, request)
        return
    action = f"{SERVICES.get(request.service, request.service)}:{request.action}"
    if request.service == "ssm" and request.action.startswith("GetParameter"):
        for name in request.json.get("Names", [request.json.get("Name", "")]):
            owner = "" if name.startswith("/aws/") else ACCOUNT
            yield Check(action, f"arn:aws:ssm:{request.region}:{owner}:parameter/{name.lstrip('/')}")
    elif (request.service, request.action) == ("ssm", "StartSession"):
        tags = _changed(world, request, "instance", request.json["Target"]).context.items()
        there = {key.replace("aws:ResourceTag", "ssm:resourceTag"): values for key, values in tags}
        yield Check(action, arn(request.region, "instance", request.json["Target"]), there)
        yield Check(action, f"arn:aws:ssm:{request.region}::document/{request.json['DocumentName']}")
    elif (request.service, request.action) == ("ssm", "GetServiceSetting"):
        yield Check(action, f"arn:aws:ssm:{request.region}:{ACCOUNT}:servicesetting{request.json['SettingId']}")
    else:
        yield Check(action)


def _of_ec2(world: World, request: Request) -> Iterator[Check]:
    params, region = request.params, request.region
    action = f"ec2:{request.action}"
    if request.action in CREATED:
        yield from _made(request.action, region, CREATED[request.action], _tags(params))
        if "VpcId" in params:
            yield Check(action, arn(region, "vpc", params["VpcId"]))
    elif request.action in CHANGED:
        kind, name = CHANGED[request.action]
        yield _changed(world, request, kind, params.get(name) or _template_id(world, params))
    elif request.action == "TerminateInstances":
        for each in listed(params, "InstanceId"):
            yield _changed(world, request, "instance", each)
    elif request.action == "CreateTags":
        keys = tuple(each["Key"] for each in numbered(params, "Tag"))
        for each in listed(params, "ResourceId"):
            yield _changed(world, request, "instance", each, {"aws:TagKeys": keys})
    elif request.action == "RunInstances":
        spot = "InstanceMarketOptions.MarketType" in params
        yield from _launched(region, _with_template(world, params, "LaunchTemplate."), spot=spot)
    elif request.action == "CreateFleet":
        yield from _ordered(world, request)
    else:
        yield Check(action)


def arn(region: str, kind: str, name: str = "new") -> str:
    """The name of a resource of EC2's; images and what they are made of belong to nobody."""
    return f"arn:aws:ec2:{region}:{'' if kind in {'image', 'snapshot'} else ACCOUNT}:{kind}/{name}"


def _tags(*sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The tags that are asked for, by the kind of the resource."""
    found: dict[str, dict[str, str]] = {}
    for source in sources:
        for each in numbered(source, "TagSpecification"):
            tags = {tag["Key"]: tag.get("Value", "") for tag in numbered(each, "Tag")}
            found.setdefault(each["ResourceType"], {}).update(tags)
    return found


def _asked(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {"aws:TagKeys": tuple(tags), **{f"aws:RequestTag/{key}": (value,) for key, value in tags.items()}}


def _made(action: str, region: str, kinds: Iterable[str], tags: Mapping[str, Mapping[str, str]]) -> Iterator[Check]:
    """What creates resources, and tags them at once."""
    for kind in kinds:
        context = _asked(tags.get(kind, {}))
        yield Check(f"ec2:{action}", arn(region, kind), context)
        if kind in tags:
            yield Check("ec2:CreateTags", arn(region, kind), {**context, "ec2:CreateAction": (action,)})


def _changed(
    world: World, request: Request, kind: str, name: str, context: Mapping[str, tuple[str, ...]] | None = None
) -> Check:
    """What changes a resource, which is known by the tags that it has; one that is not there has none."""
    action, asked, path = LISTS[kind]
    try:
        told = world.ec2(request.region, action, {asked: name})
    except Refused:
        told = ET.Element("nothing")
    tags = {
        f"aws:ResourceTag/{tag.findtext('key')}": (tag.findtext("value") or "",)
        for item in told.iterfind(path)
        for tag in item.iterfind("tagSet/item")
    }
    return Check(f"ec2:{request.action}", arn(request.region, kind, name), {**tags, **(context or {})})


def _template_id(world: World, params: Mapping[str, str]) -> str:
    return world.template_names.get(params.get("LaunchTemplateName", ""), "lt-00000000000000000")


def _with_template(world: World, params: Mapping[str, str], prefix: str) -> tuple[Mapping[str, str], ...]:
    """The sources of what is launched: the template, if there is one, and the request."""
    try:
        return template_of(world, params, prefix), params
    except Refused:
        return ({}, params)


def _launched(region: str, sources: tuple[Mapping[str, str], ...], *, spot: bool) -> Iterator[Check]:
    """RunInstances: what it makes, and what of that which there is it uses."""
    kinds = ("instance", "volume", "network-interface", *(("spot-instances-request",) if spot else ()))
    yield from _made("RunInstances", region, kinds, _tags(*sources))
    for kind, name in _used(sources):
        yield Check("ec2:RunInstances", arn(region, kind, name))
    asked = {key: value for source in sources for key, value in source.items()}
    if role := asked.get("IamInstanceProfile.Name"):
        passed = {"iam:PassedToService": ("ec2.amazonaws.com",)}
        yield Check("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", passed)


def _used(sources: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for name, value in source.items():
            if re.fullmatch(r"(NetworkInterface\.\d+\.)?SecurityGroupId\.\d+", name):
                yield "security-group", value
            elif re.fullmatch(r"(NetworkInterface\.\d+\.)?SubnetId", name):
                yield "subnet", value
            elif name == "KeyName":
                yield "key-pair", value
            elif name == "ImageId":
                yield "image", value
                yield "snapshot", "snap-of-it"


def _ordered(world: World, request: Request) -> Iterator[Check]:
    """CreateFleet: the fleet, its templates, and on the caller's behalf what launches its machines."""
    params, region = request.params, request.region
    yield from _made("CreateFleet", region, ("fleet",), _tags(params))
    spot = params.get("TargetCapacitySpecification.DefaultTargetCapacityType") == "spot"
    for config in numbered(params, "LaunchTemplateConfigs"):
        start = "LaunchTemplateSpecification."
        template, _ = _with_template(world, config, start)
        if not template:
            continue  # a trial: there are no machines to launch
        overrides = numbered(config, "Overrides")
        name = config.get(f"{start}LaunchTemplateId") or _template_id(world, {"LaunchTemplateName": config[start]})
        for action in ("CreateFleet", "RunInstances"):
            yield Check(f"ec2:{action}", arn(region, "launch-template", name))
        for kind, used in _used((template, *overrides)):
            yield Check("ec2:CreateFleet", arn(region, kind, used))
        for kind in ("instance", "volume", "network-interface"):
            yield Check("ec2:CreateFleet", arn(region, kind))
        yield from _launched(region, (template, *overrides), spot=spot)
