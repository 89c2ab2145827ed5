"""The droplets of one pool: offered, created, looked at, destroyed, with the pool's key and tags."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from skyward import Unavailable
from skyward.spi import Instance, InstanceState, MachineLabel, RestSession
from skyward_digitalocean import _api
from skyward_digitalocean._offers import offers_of
from skyward_digitalocean._settings import DigitalOcean
from skyward_digitalocean._shapes import LONGEST, Droplet, Key, Made, MadeKey, OneTag, belonging, machine, marks
from skyward_digitalocean._userdata import user_data

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec, Offer, Order

__all__ = ["DigitalOceanSession"]

_KEY, _TAG = "ssh-key", "tag"
"""How the ids of what is no machine begin."""


class DigitalOceanSession(RestSession[DigitalOcean]):
    """Serves one pool."""

    injects_host_keys = True

    _key_id: int | None = None

    # ---- what there is

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What the region has that meets the request, the cheapest first."""
        region, sizes = self.settings.region, await _api.sizes(self.rest)
        regions = {each for size in sizes for each in size.regions}
        if regions and region not in regions:
            raise Unavailable(
                f"DigitalOcean has nothing in {region!r}: choose a region of {', '.join(sorted(regions))}"
            )
        return offers_of(sizes, spec, provider=self.settings.name, region=region)

    # ---- creating

    async def _prepare(self) -> None:
        """Have the pool's key in the account: without one, a droplet's password is mailed to the owner."""
        name, key = MachineLabel.of(self.identity, 0).text(LONGEST), await self.key()

        async def find() -> MadeKey | None:
            mine = [each for each in await _api.keys(self.rest) if self._is_own(each)]
            return MadeKey(mine[0]) if mine else None

        body = {"name": name, "public_key": key.public}
        try:
            made = await self.rest.create("POST", "/v2/account/keys", body=body, into=MadeKey, find=find)
        except Unavailable:  # "already in use", after an attempt of which nobody knew how it went
            found = await find()
            if found is None:
                raise
            made = found
        self._key_id = made.ssh_key.id

    def _is_own(self, key: Key) -> bool:
        label = MachineLabel.read(key.name)
        return label is not None and label.pool_id == self.identity.pool_id

    async def _create(self, order: Order) -> Instance:
        assert order.host_key is not None
        settings, label = self.settings, order.label

        async def find() -> Made | None:
            there = [each for each in await _api.droplets(self.rest) if each.name == label.name]
            return Made(there[0]) if there else None

        body = {
            "name": label.name,
            "region": settings.region,
            "size": order.offer.instance_type,
            "image": settings.image if settings.image is not None else order.offer.details["image"],
            "ssh_keys": [self._key_id],
            "tags": [label.text(LONGEST)],
            "user_data": user_data(order.script, order.host_key),
            "with_droplet_agent": False,
            **({} if settings.vpc is None else {"vpc_uuid": settings.vpc}),
        }
        made = await self.rest.create("POST", "/v2/droplets", body=body, into=Made, find=find)
        # The answer need not have the tags yet.
        return label.instance(str(made.droplet.id), InstanceState.PENDING, details={"region": settings.region})

    # ---- looking

    async def _machines(self) -> Iterable[Instance]:
        found = (machine(each, self.identity) for each in await _api.droplets(self.rest))
        return [each for each in found if each is not None]

    async def _look(self, id: str) -> Instance | None:  # noqa: A002  as the base calls it
        kind, slash, name = id.partition("/")
        if slash:
            label = await self._label_of(kind, name)
            return None if label is None else belonging(id, label)
        droplet = await self._droplet(id)
        if droplet is None:
            # Its number is known from the order on, while lists may lag behind: this one is gone, whoever destroyed it.
            self.known.ending([id])
            return None
        return machine(droplet, self.identity)

    async def _droplet(self, name: str) -> Droplet | None:
        if not (name.isascii() and name.isdigit()):
            return None
        told = await self.rest.ask("GET", _api.path_of("droplets", name), into=Made, absent=None)
        return None if told is None else told.droplet

    async def _label_of(self, kind: str, name: str) -> MachineLabel | None:
        """What a key's name or a tag says of its pool, if it is there."""
        if kind == _KEY:
            key = await self.rest.ask("GET", _api.path_of("account", "keys", name), into=MadeKey, absent=None)
            return None if key is None else MachineLabel.read(key.ssh_key.name)
        if kind == _TAG and MachineLabel.read(name) is not None:
            tag = await self.rest.ask("GET", _api.path_of("tags", name), into=OneTag, absent=None)
            return None if tag is None else MachineLabel.read(tag.tag.name)
        return None

    # ---- removing, and moving deadlines

    async def _delete(self, id: str) -> None:  # noqa: A002
        kind, slash, name = id.partition("/")
        if slash and kind == _KEY:
            await _api.destroyed(self.rest, "account", "keys", name)
        elif slash and kind == _TAG:
            await _api.destroyed(self.rest, "tags", name)
        elif id.isascii() and id.isdigit():
            await _api.destroyed(self.rest, "droplets", id)

    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002
        droplet, new = await self._droplet(id), label.text(LONGEST)
        if droplet is None:
            return
        old = [tag for tag, _ in marks(droplet) if tag != new]
        if new not in droplet.tags:
            await self.rest.ask("POST", "/v2/tags", body={"name": new})
            resources = [{"resource_id": id, "resource_type": "droplet"}]
            path = _api.path_of("tags", new, "resources")
            await self.rest.ask("POST", path, body={"resources": resources}, absent=None)
        for tag in old:  # no other droplet bears it
            await _api.destroyed(self.rest, "tags", tag)

    async def _clear(self, pool_id: str) -> None:
        """Remove a pool's tags, and then its key, by which the rest would be found."""
        await self._each(_TAG, await self._pool_tags(pool_id))
        own = pool_id == self.identity.pool_id and self._key_id is not None
        # Lists of keys may be asked for ten times a minute only.
        await self._each(_KEY, {str(self._key_id): None} if own else await self._pool_keys(pool_id))
        if own:
            self._key_id = None

    async def _each(self, kind: str, names: Iterable[str]) -> None:
        await asyncio.gather(*(self._delete(f"{kind}/{name}") for name in names))

    async def _pool_tags(self, pool_id: str | None) -> dict[str, MachineLabel]:
        """The tags that are labels: of one pool, or of all."""
        found = {each.name: MachineLabel.read(each.name) for each in await _api.tags(self.rest)}
        return {name: label for name, label in found.items() if label and pool_id in (None, label.pool_id)}

    async def _pool_keys(self, pool_id: str | None) -> dict[str, MachineLabel]:
        """Likewise, keys by their numbers."""
        found = {str(each.id): MachineLabel.read(each.name) for each in await _api.keys(self.rest)}
        return {name: label for name, label in found.items() if label and pool_id in (None, label.pool_id)}

    async def list_left(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Keys and tags of pools that have no droplet any more."""
        tags, keys = await asyncio.gather(self._pool_tags(pool_id), self._pool_keys(pool_id))
        things = {f"{_TAG}/{name}": label for name, label in tags.items()}
        things |= {f"{_KEY}/{name}": label for name, label in keys.items()}
        if not things:
            return []
        # Asked last: what came into being meanwhile is not taken for left over.
        living = {each.pool_id for each in await self.list_owned()}
        # A pool's deadline is that of its last tag; its key's is that of its start.
        latest: dict[str, float] = {}
        for label in things.values():
            moment = math.inf if label.deadline is None else label.deadline
            latest[label.pool_id] = max(latest.get(label.pool_id, 0.0), moment)
        left = [belonging(name, label) for name, label in things.items() if label.pool_id not in living]
        moments = {pool: None if math.isinf(moment) else moment for pool, moment in latest.items()}
        return [evolve(each, deadline=moments[each.pool_id]) for each in left]
