"""Machines as AWS describes them, in all regions; their end, and their tags."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward import AuthenticationFailed, Transient, Unavailable
from skyward.spi import Instance, InstanceState
from skyward_aws._leftovers import left_in, remove, things_in
from skyward_aws._tags import ANY, DEADLINE, instance, of_pool, pairs

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._belongings import Belongings
    from skyward_aws._leftovers import Left
    from skyward_aws._settings import AWS

__all__ = ["Machines"]

_log = logging.getLogger("skyward.aws")

_VALUES = 200
"""Values that one filter of AWS's may have."""
_UNSEEN = 120.0
"""Seconds in which AWS may not know yet a machine that it has just launched."""
_ENDING = 120.0
"""Seconds for which a machine that was ended and is not billed any more counts as there: its network card keeps the
security group."""
_REGIONS_AT_ONCE = 8
_A_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_CLEARING = 10.0
"""Seconds that closing waits for what cannot be removed yet."""


class Machines:
    """What is known of machines, of this pool and of others.

    Args:
        api: the account.
        settings: the user's.
        belongings: what the pool has beside machines.
    """

    def __init__(self, api: Api, settings: AWS, belongings: Belongings) -> None:
        self._api = api
        self._settings = settings
        self._belongings = belongings
        self._launched: dict[str, Instance] = {}
        self._unseen: dict[str, float] = {}  # by id, until when AWS may not know it yet
        self._ending: dict[str, float] = {}  # by id, until when it counts as there although it is as good as gone
        self._regions: dict[str, str] = {}  # where a machine is that is not in the session's region
        self._pools: set[tuple[str, str]] = set()  # region and id of pools of which machines were ended

    def note(self, machine: Instance) -> Instance:
        """Remember a machine that was launched just now; returns it."""
        self._launched[machine.id] = machine
        self._unseen[machine.id] = self._time() + _UNSEEN
        return machine

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()

    # ---- looking

    async def describe(self, ids: Collection[str]) -> dict[str, Instance]:
        """The present state of machines; those that no region knows are left out."""
        others = [name for name in ids if "/" in name]
        found = await self._where([name for name in ids if "/" not in name])
        found |= {each.id: each for each in await self._things(others)} if others else {}
        now = self._time()
        for name in ids:
            if name in found:
                self._unseen.pop(name, None)
            elif now < self._unseen.get(name, 0.0):
                found[name] = self._launched[name]
        return found

    async def _where(self, ids: Collection[str]) -> dict[str, Instance]:
        """Machines by id, first in the regions where they are known to be, then in all others."""
        by_region: dict[str, list[str]] = {}
        for name in ids:
            by_region.setdefault(self._regions.get(name, self._api.region), []).append(name)
        found = await self._named(by_region)
        strange = [name for name in ids if name not in found and name not in self._launched and name[:2] == "i-"]
        if strange:
            others = {region: strange for region in await self._all_regions() if region != self._api.region}
            found |= await self._named(others, strict=False)
        return found

    async def _named(self, by_region: dict[str, list[str]], *, strict: bool = True) -> dict[str, Instance]:
        filters = [
            (region, [{"Name": "instance-id", "Values": list(some)}])
            for region, names in by_region.items()
            for some in batched(names, _VALUES)
        ]
        asked = {name for names in by_region.values() for name in names}  # which a filter may take for patterns
        return {each.id: each for each in await self._look(filters, strict=strict) if each.id in asked}

    async def listed(self, pool_id: str | None) -> list[Instance]:
        """Machines by their tags."""
        if pool_id is not None:
            return await self._look([(self._api.region, [of_pool(pool_id)])])
        return await self._look([(region, [ANY]) for region in await self._all_regions()], strict=False)

    async def left(self, pool_id: str | None) -> list[Instance]:
        """What pools have left beside machines: of one in this region, of all in every region."""
        regions = await self._all_regions() if pool_id is None else (self._api.region,)
        ask = partial(left_in, self._api, pool_id)
        return await self._asked([(region, ask) for region in regions], strict=False)

    async def _things(self, names: Collection[str]) -> list[Instance]:
        """Those of these things that are there."""
        regions = sorted({region for name in names if _A_REGION.fullmatch(region := name.partition("/")[0])})
        found = await self._asked([(region, partial(things_in, self._api)) for region in regions])
        return [each for each in found if each.id in names]

    async def _look(self, questions: Iterable[tuple[str, list[Any]]], *, strict: bool = True) -> list[Instance]:
        """Machines by filters, each in a region."""

        async def named(filters: list[Any], region: str) -> list[Instance]:
            rows = await self._api.pages("describe_instances", "Reservations", region=region, Filters=filters)
            return [self._known(facts, region) for row in rows for facts in row["Instances"]]

        return await self._asked([(region, partial(named, filters)) for region, filters in questions], strict=strict)

    async def _asked(
        self, questions: Iterable[tuple[str, Callable[[str], Awaitable[list[Instance]]]]], *, strict: bool = True
    ) -> list[Instance]:
        """Ask regions; without ``strict``, what another one than the session's refuses is left out."""
        turn = asyncio.Semaphore(_REGIONS_AT_ONCE)

        async def one(region: str, ask: Callable[[str], Awaitable[list[Instance]]]) -> list[Instance]:
            async with turn:
                try:
                    return await ask(region)
                except (AuthenticationFailed, Unavailable) as error:
                    if strict or region == self._api.region:
                        raise
                    _log.info("no look at what there is in %s: %s", region, error)
                    return []

        answers = await asyncio.gather(*(one(region, ask) for region, ask in questions))
        return [each for found in answers for each in found]

    def _known(self, facts: dict[str, Any], region: str) -> Instance:
        """A machine with what this session knows of it beside."""
        machine = instance(facts, region)
        if region != self._api.region:
            self._regions[machine.id] = region
        if not self._settings.public_ip and machine.private_ip:
            machine = evolve(machine, ip=machine.private_ip)
        if (launched := self._launched.get(machine.id)) is not None:
            machine = evolve(machine, node=launched.node, offer=launched.offer)
        if machine.details["state"] == "shutting-down" and self._time() < self._ending.get(machine.id, 0.0):
            machine = evolve(machine, state=InstanceState.PENDING)
        return machine

    async def _all_regions(self) -> tuple[str, ...]:
        """The session's region, and the others that are to be looked at."""
        own, found = self._api.region, self._settings.reap_regions
        if found is None:
            try:
                answer = await self._api.ask("describe_regions")
                found = tuple(str(each["RegionName"]) for each in answer["Regions"])
            except (AuthenticationFailed, Unavailable) as error:
                _log.warning("only %s is looked at: %s", own, error)
                found = ()
        return (own, *sorted({*found} - {own}))

    # ---- ending, and moving deadlines

    async def terminate(self, ids: Sequence[str]) -> None:
        """End machines; those that AWS does not know are no obstacle.

        Raises:
            Transient: one that was launched just now is not known yet.
        """
        found = await self.describe(ids)
        by_region: dict[str, list[str]] = {}
        for name, machine in found.items():
            region = str(machine.details["region"])
            if machine.pool_id:
                self._pools.add((region, machine.pool_id))
            if machine.state is not InstanceState.GONE and "/" not in name:
                by_region.setdefault(region, []).append(name)

        async def end(region: str, names: list[str]) -> None:
            await self._each(names, lambda some: self._api.ask("terminate_instances", region=region, InstanceIds=some))

        await asyncio.gather(*(end(region, names) for region, names in by_region.items()))
        if found and await self._remove_empty() == "ending":
            until = self._time() + _ENDING
            for name in found:
                self._ending.setdefault(name, until)

    async def move(self, ids: Sequence[str], deadline: float) -> None:
        """Move the deadline in the tags of those machines that are there."""
        living = {
            name: each for name, each in (await self.describe(ids)).items() if each.state is not InstanceState.GONE
        }
        by_region: dict[str, list[str]] = {}
        for name, machine in living.items():
            by_region.setdefault(str(machine.details["region"]), []).append(name)
        tags = pairs({DEADLINE: f"{deadline:.3f}"})

        async def moved(region: str, names: list[str]) -> None:
            await self._each(names, lambda some: self._api.ask("create_tags", region=region, Resources=some, Tags=tags))

        await asyncio.gather(*(moved(region, names) for region, names in by_region.items()))
        for name in living:
            if name in self._launched:
                self._launched[name] = evolve(self._launched[name], deadline=deadline)

    async def _each(self, names: list[str], call: Callable[[list[str]], Any]) -> None:
        """Do something with machines, which AWS refuses for all of them if it does not know one."""
        try:
            for some in batched(names, _VALUES):
                await call(list(some))
        except Unavailable as error:
            if "InvalidInstanceID" not in str(error) and "InvalidID" not in str(error):
                raise
            raise Transient(f"a machine is not known to AWS yet, or any more: {error}") from error

    # ---- what is beside them

    async def _remove_empty(self) -> Left:
        """Remove what the pools have whose machines were ended, where no machine is left; what is left of them."""
        found: set[Left] = set()
        own = (self._api.region, self._belongings.pool_id)
        if self._belongings.made:
            found.add(await self._belongings.remove())
        for region, pool in sorted(self._pools - {own}):
            left = await remove(self._api, region, pool)
            if left == "nothing":
                self._pools.discard((region, pool))
            found.add(left)
        return "ending" if "ending" in found else "machines" if "machines" in found else "nothing"

    async def clear(self) -> None:
        """Remove what is left beside machines, as far as that goes within seconds."""
        end, pause = self._time() + _CLEARING, 0.5
        while await self._remove_empty() == "ending" and self._time() + pause < end:
            await asyncio.sleep(pause)
            pause *= 2
