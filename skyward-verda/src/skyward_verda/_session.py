"""The instances of one pool: offered, made, looked at, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self, override

from attrs import evolve

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Unavailable
from skyward.spi import Instance, InstanceState, MachineLabel, Offer, Order, PoolIdentity, RestSession
from skyward_verda import _images
from skyward_verda._api import Api
from skyward_verda._belongings import belongings, discard, remove
from skyward_verda._catalog import offers_of
from skyward_verda._labels import DEAD, Records, instance, keyed, record, scripted

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec
    from skyward_verda._api import Machine
    from skyward_verda._settings import Verda

__all__ = ["VerdaSession"]

_log = logging.getLogger("skyward.verda")

_GRACE = 120.0
"""Seconds for which an instance may be offline that has not run yet: it may be on its way all the same."""


class VerdaSession(RestSession["Verda"]):
    """Serves one pool.

    Args:
        settings: what the user asked for.
        identity: the pool's.
        api: the account.
    """

    lag = 0.0  # its own clients ask for an instance by its id right after they have made it

    def __init__(self, settings: Verda, identity: PoolIdentity, api: Api) -> None:
        super().__init__(settings, identity, api.rest)
        self._api = api
        self._key_id = ""
        self._images: dict[str, str] = {}
        self._ran: set[str] = set()
        self._idle: dict[str, float] = {}  # by id, since when an instance is offline that has not run

    @classmethod
    async def open(cls, settings: Verda, identity: PoolIdentity) -> Self:
        """Ask for a token and the locations.

        Raises:
            AuthenticationFailed: there are no credentials, or they are refused.
            Unavailable: there is no such location.
            Transient: Verda cannot be reached.
        """
        api = Api(settings)
        try:
            places = await api.locations()
            if settings.region is not None and settings.region.casefold() not in {each.casefold() for each in places}:
                raise Unavailable(
                    f"Verda has no location {settings.region!r}, but {', '.join(places) or 'none'}: name one of them, "
                    "or leave region out for all"
                )
        except BaseException:
            await api.aclose()
            raise
        return cls(settings, identity, api)

    # ---- what there is

    @override
    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What is to be had now that meets the request, the cheapest first."""
        kinds, available = await asyncio.gather(self._api.kinds(), self._api.available())
        return offers_of(kinds, available, spec, provider=self.settings.name, region=self.settings.region)

    # ---- making

    @override
    async def _prepare(self) -> None:
        """Make the pool's key known. It is the account's, and all of the pool's instances are made with it."""
        label = MachineLabel.of(self.identity, 0)
        self._key_id = await self._api.add_key(label.name, keyed((await self.key()).public, label))

    @override
    async def _create(self, order: Order) -> Instance:
        offer, label, spot = order.offer, order.label, order.offer.market == "spot"
        image = await self._image(offer)
        script = await self._api.add_script(f"{label.name}.sh", scripted(label, order.script))
        volume: dict[str, object] = {"name": label.name, "size": self.settings.disk_gb}
        if spot:  # else it would be kept, and cost on, when the instance is taken back
            volume["on_spot_discontinue"] = "delete_permanently"
        asked = {
            "instance_type": offer.instance_type,
            "image": image,
            "hostname": label.name,
            "description": label.text(),
            "ssh_key_ids": [self._key_id],
            "location_code": offer.region,
            "startup_script_id": script,
            "os_volume": volume,
            "is_spot": spot,
            "pricing": "FIXED_PRICE",
        }
        try:
            name = await self._api.create(asked)
        except (AuthenticationFailed, QuotaExceeded, Unavailable):  # it is certain that nothing will need the script
            await self._without(script)
            raise
        return label.instance(name, InstanceState.PENDING, details={"state": "ordered", "location": offer.region})

    async def _without(self, script: str) -> None:
        try:
            await self._api.remove_script(script)
        except ProviderError as error:
            _log.info("a script stays until the end of the pool: %s", error)

    async def _image(self, offer: Offer) -> str:
        """What an instance boots: the user's own choice, or the newest for it."""
        if self.settings.image is not None:
            return self.settings.image
        kind = offer.instance_type
        if kind not in self._images:
            told = offer.details.get("images")
            supported = [str(each) for each in told] if isinstance(told, (list, tuple)) else []
            images = await self._api.images(kind)
            self._images[kind] = _images.chosen(images, supported, cuda=offer.accelerator is not None, kind=kind)
        return self._images[kind]

    # ---- looking

    @override
    async def _machines(self) -> Iterable[Instance]:
        machines, scripts = await asyncio.gather(self._api.machines(), self._api.scripts())
        return self._labelled(machines, Records.of(scripts))

    def _labelled(self, machines: Iterable[Machine], records: Records) -> list[Instance]:
        found = ((each, records.label(each)) for each in machines)
        return [self._told(instance(each, label)) for each, label in found if label is not None]

    def _told(self, machine: Instance) -> Instance:
        """What of this pool has shut itself down is gone for it, and costs until the base deletes it."""
        if machine.state is InstanceState.RUNNING:
            self._ran.add(machine.id)
        if not self._is_dead(machine):
            return machine
        return evolve(machine, state=InstanceState.GONE, details={**machine.details, "billed": True})

    def _is_dead(self, machine: Instance) -> bool:
        state, own = machine.details.get("state"), machine.pool_id == self.identity.pool_id
        if not own or state not in DEAD:
            self._idle.pop(machine.id, None)
            return False
        if state == "error" or machine.id in self._ran:
            return True
        now = self.rest.waits.now()
        return now >= self._idle.setdefault(machine.id, now) + _GRACE

    @override
    async def _look(self, id: str) -> Instance | None:
        if "/" in id:
            return next((each for each in await belongings(self._api) if each.id == id), None)
        machine = await self._api.machine(id)
        if machine is None:
            return None
        found = self._labelled([machine], Records.of(await self._api.scripts()))
        return found[0] if found else None

    async def list_left(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Keys, scripts and volumes of pools that have no instance any more."""
        things, machines = await asyncio.gather(belongings(self._api), self.list_owned())
        standing = {each.pool_id for each in machines}
        return [each for each in things if each.pool_id not in standing and pool_id in (None, each.pool_id)]

    # ---- ending, and moving deadlines

    @override
    async def _delete(self, id: str) -> None:
        if "/" in id:
            await remove(self._api, id)
            return
        machine = await self._api.machine(id)
        if machine is not None and machine.status not in ("deleting", "discontinued"):
            await self._api.delete(machine)

    @override
    async def _clear(self, pool_id: str) -> None:
        await discard(self._api, pool_id)

    @override
    async def _relabel(self, id: str, label: MachineLabel) -> None:
        scripts = await self._api.scripts()
        records = Records.of(scripts)
        name = f"{label.name}.deadline"
        old = [each for each in scripts if each.name == name and records.of_script.get(each.id) is not None]
        await self._api.add_script(name, record(label))
        for each in old:
            await self._api.remove_script(each.id)

    @override
    async def close(self) -> None:
        """Remove what this pool has beside instances, if it has none any more, and let go of the account."""
        try:
            await super().close()
        finally:
            await self._api.aclose()
