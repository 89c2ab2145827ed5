"""What bears a pool's tag beside its machines: found by that alone, and removed once the last machine is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from skyward import AuthenticationFailed, Unavailable
from skyward.spi import Instance
from skyward_aws._tags import ANY, POOL, belonging, of_pool, told

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["Left", "left_in", "remove", "things_in"]

type Left = Literal["nothing", "ending", "machines"]
"""What is left of a pool: nothing; what cannot be removed before machines that are ending are gone; machines."""

_LIVING, _ENDING = ("pending", "running", "stopping", "stopped"), "shutting-down"


@frozen
class _Kind:
    """How AWS lists things of a kind, what it calls them there, and how they are removed.

    Attributes:
        list: the operation.
        key: where its answer has them.
        id: what names one for everybody.
        remove: the operation.
        name: its parameter, which is what the list calls it, too.
    """

    list: str
    key: str
    id: str
    remove: str
    name: str


_TEMPLATES = _Kind(
    "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", "delete_launch_template", "LaunchTemplateId"
)
_GROUPS = _Kind("describe_security_groups", "SecurityGroups", "GroupId", "delete_security_group", "GroupId")
_VOLUMES = _Kind("describe_volumes", "Volumes", "VolumeId", "delete_volume", "VolumeId")
_KEYS = _Kind("describe_key_pairs", "KeyPairs", "KeyPairId", "delete_key_pair", "KeyName")
_KINDS = (_TEMPLATES, _VOLUMES, _GROUPS, _KEYS)
"""In the order in which they are removed. A key pair is made first and removed last."""


async def remove(api: Api, region: str, pool_id: str) -> Left:
    """Remove what a pool has in a region beside machines; not before its last machine is gone. What is left then."""
    mine = [of_pool(pool_id)]
    if states := {each["State"]["Name"] for each in await _machines(api, region, mine)}:
        return "ending" if states == {_ENDING} else "machines"
    found = await _found(api, region, mine)
    await _removed(api, region, mine, found, (_TEMPLATES, _VOLUMES))
    try:
        await _removed(api, region, mine, found, (_GROUPS,))
    except Unavailable as error:
        if "DependencyViolation" not in str(error):
            raise
        return "ending"  # it still has the network card of a machine that has just ended
    await _removed(api, region, mine, found, (_KEYS,))
    return "nothing"


async def things_in(api: Api, region: str) -> list[Instance]:
    """Everything in a region that bears the tag of any pool, beside machines."""
    found = await _found(api, region, [ANY])
    return [belonging(facts, facts[kind.id], region) for kind, rows in found.items() for facts in rows]


async def left_in(api: Api, pool_id: str | None, region: str) -> list[Instance]:
    """What a region has of one pool, or of all, beside machines; without that of pools whose machines are there."""
    filters = [ANY if pool_id is None else of_pool(pool_id)]
    things = [each for each in await things_in(api, region) if pool_id in (None, each.pool_id)]
    if not things:
        return []
    standing = {told(each).get(POOL) for each in await _machines(api, region, filters)}
    return [each for each in things if each.pool_id not in standing]


async def _machines(api: Api, region: str, filters: list[Any]) -> list[Mapping[str, Any]]:
    """Machines that are not gone."""
    states = {"Name": "instance-state-name", "Values": [*_LIVING, _ENDING]}
    rows = await api.pages("describe_instances", "Reservations", region=region, Filters=[*filters, states])
    return [each for row in rows for each in row["Instances"]]


async def _found(api: Api, region: str, filters: list[Any]) -> dict[_Kind, list[Mapping[str, Any]]]:
    """What there is of each kind; a volume that a machine has goes with that."""
    answers = await asyncio.gather(*(_listed(api, region, kind, filters) for kind in _KINDS))
    return dict(zip(_KINDS, answers, strict=True))


async def _listed(api: Api, region: str, kind: _Kind, filters: list[Any]) -> list[Mapping[str, Any]]:
    if kind is _KEYS:  # which AWS gives without pages
        rows = (await api.ask(kind.list, region=region, Filters=filters))[kind.key]
    else:
        rows = await api.pages(kind.list, kind.key, region=region, Filters=filters)
    return [each for each in rows if kind is not _VOLUMES or each["State"] == "available"]


async def _removed(
    api: Api,
    region: str,
    filters: list[Any],
    found: Mapping[_Kind, list[Mapping[str, Any]]],
    kinds: Iterable[_Kind],
) -> None:
    await asyncio.gather(*(_gone(api, region, filters, kind, each) for kind in kinds for each in found[kind]))


async def _gone(api: Api, region: str, filters: list[Any], kind: _Kind, facts: Mapping[str, Any]) -> None:
    """Remove something; what is not there is gone."""
    try:
        await api.ask(kind.remove, region=region, **{kind.name: facts[kind.name]})
    except Unavailable as error:
        if "NotFound" not in str(error):
            raise
    except AuthenticationFailed:
        # A policy that goes by tags does not allow to remove what is not there any more: it has none.
        if any(each[kind.id] == facts[kind.id] for each in await _listed(api, region, kind, filters)):
            raise
