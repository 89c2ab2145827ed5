"""Buying: RunInstances by what the market has, launch templates, and what becomes of client tokens."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from .catalogue import image_of
from .market import KINDS, Lot
from .userdata import Boot, boot
from .wire import NAMESPACE, Refused, Reply, Request, numbered
from .world import SECRET, Known, World

Fields = Mapping[str, str]


def once(world: World, request: Request) -> Reply | None:
    """The reply that this client token had; ``None`` if it is new.

    Raises:
        Refused: the token came with other parameters.
    """
    before = world.tokens.get((request.region, request.action, request.params.get("ClientToken", "")))
    if before is None:
        return None
    if before[0] != request.params:
        text = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
        raise Refused("IdempotentParameterMismatch", text)
    return before[1]


def create_template(world: World, request: Request, template: str) -> None:
    """Remember what a template says: its data has the form of RunInstances."""
    start = "LaunchTemplateData."
    data = {name.removeprefix(start): value for name, value in request.params.items() if name.startswith(start)}
    versions = world.templates.setdefault(template, [])
    source = request.params.get("SourceVersion")
    versions.append({**(versions[int(source) - 1] if source else {}), **data})


def template_of(world: World, asked: Fields, prefix: str) -> dict[str, str]:
    template = asked.get(f"{prefix}LaunchTemplateId")
    name = asked.get(f"{prefix}LaunchTemplateName")
    if template is None and name is None:
        return {}
    template = template or world.template_names.get(name or "", "")
    if template not in world.templates:
        code = "InvalidLaunchTemplateName.NotFoundException" if name else "InvalidLaunchTemplateId.NotFound"
        raise Refused(code, f"the launch template {name or template} does not exist")
    versions = world.templates[template]
    version = asked.get(f"{prefix}Version", "$Default")
    number = {"$Latest": len(versions), "$Default": 1}.get(version) or int(version)
    return dict(versions[number - 1])


def tags_of(*sources: Fields) -> dict[str, str]:
    """The tags of instances and volumes of all sources, each resource once, as moto wants them."""
    found: dict[str, dict[str, str]] = {}
    for source in sources:
        for each in numbered(source, "TagSpecification"):
            kept = found.setdefault(each["ResourceType"], {})
            kept.update({tag["Key"]: tag.get("Value", "") for tag in numbered(each, "Tag")})
    made = {}
    for place, (resource, tags) in enumerate(found.items(), 1):
        if resource in {"instance", "volume", "network-interface"}:
            made[f"TagSpecification.{place}.ResourceType"] = resource
            for number, (key, value) in enumerate(tags.items(), 1):
                made[f"TagSpecification.{place}.Tag.{number}.Key"] = key
                made[f"TagSpecification.{place}.Tag.{number}.Value"] = value
    return made


def merged(*sources: Fields) -> dict[str, str]:
    """Fields of several sources, of which the later ones win. A list is that of one source, tags are of all."""
    made: dict[str, str] = {}
    for source in sources:
        lists = {name.partition(".")[0] for name in source if name.partition(".")[2][:1].isdigit()}
        made = {name: value for name, value in made.items() if name.partition(".")[0] not in lists} | dict(source)
    plain = {name: value for name, value in made.items() if not name.startswith("TagSpecification.")}
    return plain | tags_of(*sources)


def zone_of(world: World, region: str, asked: dict[str, str]) -> str:
    """The zone of the subnet that is asked for; without one, that zone's default subnet, or the first zone's."""
    subnet = asked.get("SubnetId") or asked.get("NetworkInterface.1.SubnetId")
    if subnet:
        told = world.ec2(region, "DescribeSubnets", {"SubnetId.1": subnet})
        return told.findtext("subnetSet/item/availabilityZone", "")
    zone = asked.pop("Placement.AvailabilityZone", f"{region}a")
    filters = {"Filter.1.Name": "availability-zone", "Filter.1.Value.1": zone}
    filters |= {"Filter.2.Name": "default-for-az", "Filter.2.Value.1": "true"}
    told = world.ec2(region, "DescribeSubnets", filters)
    if (found := told.findtext("subnetSet/item/subnetId")) is None:
        raise Refused("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    asked["NetworkInterface.1.SubnetId" if "NetworkInterface.1.DeviceIndex" in asked else "SubnetId"] = found
    return zone


def price_refusal(world: World, lot: Lot, limit: str | None) -> Refused | None:
    now = world.market.spot_price(lot.type, lot.zone) if lot.market == "spot" else None
    if now is None or limit is None or float(limit) >= now:
        return None
    return Refused("SpotMaxPriceTooLow", f"Your Spot request price of {limit} is below {now}.")


def run_instances(world: World, request: Request) -> Reply:
    """As many as the market has, between MinCount and MaxCount, or the market's error."""
    asked = merged(template_of(world, request.params, "LaunchTemplate."), request.params)
    spot = asked.get("InstanceMarketOptions.MarketType") == "spot"
    lot = Lot(asked["InstanceType"], zone_of(world, request.region, asked), "spot" if spot else "on-demand")
    check(lot)
    wanted = int(asked["MaxCount"])
    number, reason = world.market.available(lot, wanted, world.running(request.region))
    if error := price_refusal(world, lot, asked.get("InstanceMarketOptions.SpotOptions.MaxPrice")):
        number, reason = 0, error
    if number < int(asked["MinCount"]):
        assert reason is not None
        raise reason
    return Reply(200, launch(world, request.region, asked, lot, number)[1], {"Content-Type": "text/xml"})


def check(lot: Lot) -> None:
    if lot.type not in KINDS:
        raise Refused("InvalidParameterValue", f"Invalid value '{lot.type}' for InstanceType.")


def launch(world: World, region: str, asked: dict[str, str], lot: Lot, number: int) -> tuple[list[str], bytes]:
    asked = {name: value for name, value in asked.items() if not name.startswith(("LaunchTemplate.", "DryRun"))}
    asked |= {"ImageId": image_of(asked["ImageId"]), "InstanceType": lot.type}
    asked |= {"MinCount": str(number), "MaxCount": str(number)}
    if lot.market == "spot":
        asked["InstanceMarketOptions.MarketType"] = "spot"
    told = world.ec2(region, "RunInstances", asked)
    profile = asked.get("IamInstanceProfile.Name") or asked.get("IamInstanceProfile.Arn", "").rpartition("/")[2] or None
    ids = []
    for each in told.iterfind(".//instancesSet/item"):
        ids.append(each.findtext("instanceId", ""))
        lag = world.lag
        known = Known(
            ids[-1], region, lot, each.findtext("ipAddress", ""), each.findtext("privateIpAddress", ""),
            unseen=lag.unseen, untagged=lag.untagged, pending=lag.pending, profile=profile,
        )  # fmt: skip
        world.known[known.id] = known
        _start(world, known, asked)
        as_pending(each)
    told.set("xmlns", NAMESPACE)
    return ids, ET.tostring(told)


def as_pending(item: Any) -> None:
    """What a list or a launch tells of an instance that does not run yet: it has no public address."""
    state = item.find("instanceState")
    state.find("code").text, state.find("name").text = "0", "pending"
    for name in ("ipAddress", "dnsName"):
        if (found := item.find(name)) is not None:
            item.remove(found)
    for interface in item.iterfind("networkInterfaceSet/item"):
        for holder in (interface, *interface.iterfind("privateIpAddressesSet/item")):
            if (found := holder.find("association")) is not None:
                holder.remove(found)


def _start(world: World, known: Known, asked: Fields) -> None:
    if world.machines is None:
        return
    made = boot(base64.b64decode(asked["UserData"])) if asked.get("UserData") else Boot()
    if key := world.keys.get((known.region, asked.get("KeyName", ""))):
        made.authorized.insert(0, key)
    metadata = {
        "meta-data/instance-id": known.id,
        "meta-data/instance-type": known.lot.type,
        "meta-data/instance-life-cycle": known.lot.market,
        "meta-data/ami-id": asked["ImageId"],
        "meta-data/local-ipv4": known.private_ip,
        "meta-data/public-ipv4": known.public_ip,
        "meta-data/placement/availability-zone": known.lot.zone,
        "meta-data/placement/region": known.region,
        "user-data": base64.b64decode(asked.get("UserData", "")).decode(errors="replace"),
    }
    if known.profile is not None:
        role = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIARIG0000000000002", "SecretAccessKey": SECRET}
        role |= {"Token": "rig", "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z"}
        metadata[f"meta-data/iam/security-credentials/{known.profile}"] = json.dumps(role)
    addresses = (known.public_ip if world.lets_in(known) else "", known.private_ip)
    world.machines.start(known.id, known.region, addresses, made, metadata, world.ended)
