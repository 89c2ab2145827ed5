"""What pools have in an account beside instances: keys, scripts, and volumes that somebody has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from skyward.spi import Instance, InstanceState, MachineLabel
from skyward_verda._api import Api
from skyward_verda._labels import Records

__all__ = ["belongings", "discard", "remove"]


async def belongings(api: Api) -> list[Instance]:
    """All that bears a label of a pool, told as instances are, by its kind and id: ``key/0f2a...``."""
    scripts, keys, volumes = await asyncio.gather(api.scripts(), api.keys(), api.volumes())
    records = Records.of(scripts)
    things = [_thing("script", name, label) for name, label in records.of_script.items()]
    things += [_thing("key", each.id, label) for each in keys if (label := records.of_key(each)) is not None]
    things += [_thing("volume", each.id, label) for each in volumes if (label := records.of_volume(each)) is not None]
    return things


async def discard(api: Api, pool_id: str) -> None:
    """Remove all that a pool has; the scripts, which tell whose the rest is, at the end."""
    found = [each.id for each in await belongings(api) if each.pool_id == pool_id]
    for last in (False, True):
        await _all(api, (name for name in found if name.startswith("script/") is last))


async def remove(api: Api, name: str) -> None:
    """Remove a thing by its kind and id; one that is not there is no obstacle."""
    kind, _, number = name.partition("/")
    gone = {"script": api.remove_script, "key": api.remove_key, "volume": api.remove_volume}
    if kind in gone:
        await gone[kind](number)


async def _all(api: Api, names: Iterable[str]) -> None:
    outcomes = await asyncio.gather(*(remove(api, name) for name in names), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _thing(kind: str, number: str, label: MachineLabel) -> Instance:
    return label.instance(f"{kind}/{number}", InstanceState.PENDING)
