"""CreateFleet of the type instant: several types and zones in one call, as AWS fills it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from .launches import check, launch, merged, price_refusal, tags_of, template_of, zone_of
from .market import Lot
from .wire import Refused, Reply, Request, answer, numbered
from .world import World

__all__ = ["create_fleet"]


@frozen
class _Pool:
    """One of a fleet's choices: an override on its template."""

    lot: Lot
    fields: dict[str, str]
    told: dict[str, Any]
    """Its form in the answer."""
    rank: tuple[float, ...]


def create_fleet(world: World, request: Request) -> Reply:
    """An instant fleet: the best pool that has capacity, then the next; what was refused stands in its errors."""
    params = request.params
    if params.get("Type") != "instant":
        raise Refused("InvalidParameterValue", "the rig has fleets of the type instant alone")
    capacity = "TargetCapacitySpecification."
    total = int(params[f"{capacity}TotalTargetCapacity"])
    default = params.get(f"{capacity}DefaultTargetCapacityType", "on-demand")
    asked = {each: int(params.get(f"{capacity}{name}TargetCapacity", 0)) for each, name in _MARKETS}
    asked[default] += max(total - sum(asked.values()), 0)
    fleet = f"fleet-{secrets.token_hex(4)}-{secrets.token_hex(6)}"
    own = tags_of(params)
    instances: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for market, name in _MARKETS:
        plan, refused = _planned(world, request, market, name, asked[market])
        errors += refused
        if sum(number for _, number in plan) < int(params.get(f"{name}Options.MinTargetCapacity", 0)):
            continue
        for pool, number in plan:
            mark = {"TagSpecification.9.ResourceType": "instance", "TagSpecification.9.Tag.1.Key": "aws:ec2:fleet-id"}
            mark["TagSpecification.9.Tag.1.Value"] = fleet
            ids, _ = launch(world, request.region, merged(pool.fields, own, mark), pool.lot, number)
            place = {"instanceType": pool.lot.type, "availabilityZone": pool.lot.zone}
            instances.append({**pool.told, "lifecycle": market, "instanceIds": ids, **place})
    return answer(request, {"requestId": "rig", "fleetId": fleet, "errorSet": errors, "fleetInstanceSet": instances})


_MARKETS = (("on-demand", "OnDemand"), ("spot", "Spot"))


def _planned(
    world: World, request: Request, market: str, name: str, wanted: int
) -> tuple[list[tuple[_Pool, int]], list[dict[str, Any]]]:
    """How many are taken of which pool, and what the others said."""
    strategy = request.params.get(f"{name}Options.AllocationStrategy", "lowest-price")
    plan: list[tuple[_Pool, int]] = []
    errors: list[dict[str, Any]] = []
    if wanted == 0:
        return plan, errors
    running = world.running(request.region)
    for pool in sorted(_pools(world, request, market, strategy), key=lambda pool: pool.rank):
        if wanted == 0:
            break
        number, reason = world.market.available(pool.lot, wanted, running)
        if error := price_refusal(world, pool.lot, pool.fields.get("MaxPrice")):
            number, reason = 0, error
        if number:
            plan.append((pool, number))
            running += [pool.lot] * number
            wanted -= number
        if reason is not None:
            said = {"errorCode": reason.code, "errorMessage": reason.message}
            errors.append({**pool.told, "lifecycle": market, **said})
    return plan, errors


def _pools(world: World, request: Request, market: str, strategy: str) -> Iterable[_Pool]:
    for config in numbered(request.params, "LaunchTemplateConfigs"):
        start = "LaunchTemplateSpecification."
        template = template_of(world, config, start)
        specification = {name[len(start) :]: value for name, value in config.items() if name.startswith(start)}
        for place, override in enumerate(numbered(config, "Overrides") or [{}]):
            fields = merged(template, override)
            zone_asked = fields.pop("AvailabilityZone", None)
            if zone_asked:
                fields["Placement.AvailabilityZone"] = zone_asked
            if "SubnetId" in fields and "NetworkInterface.1.DeviceIndex" in fields:
                fields["NetworkInterface.1.SubnetId"] = fields.pop("SubnetId")
            lot = Lot(fields["InstanceType"], zone_of(world, request.region, fields), market)
            check(lot)
            price = world.market.spot_price(lot.type, lot.zone) if market == "spot" else None
            cost = price or world.market.on_demand_price(lot.type, request.region)
            priority = float(override.get("Priority", "inf"))
            rank = (priority, place) if "prioritized" in strategy else (cost, place)
            told = {_lower(name): value for name, value in override.items() if "." not in name}
            template_told = {_lower(name): value for name, value in specification.items()}
            both = {"launchTemplateSpecification": template_told, "overrides": told}
            yield _Pool(lot, fields, {"launchTemplateAndOverrides": both}, rank)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
