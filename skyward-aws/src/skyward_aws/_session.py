"""The machines of one pool: offered, launched, looked at, ended."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from attrs import evolve

from skyward import ProviderError, Unavailable
from skyward.spi import Instance, InstanceState, KeyPair, LaunchRequest, Offer, PoolIdentity, shielded
from skyward_aws import _ami, _catalog, _prices, _ssm
from skyward_aws._belongings import Belongings, Keeping
from skyward_aws._errors import combined
from skyward_aws._kept import kept
from skyward_aws._launch import Bought, batches, template
from skyward_aws._machines import Machines
from skyward_aws._network import Subnets, subnets
from skyward_aws._offers import Prices, offers_of, zone_offer
from skyward_aws._orders import Ordered, order
from skyward_aws._permissions import trials, try_out
from skyward_aws._tags import pairs, tags_of
from skyward_aws._userdata import user_data
from skyward_aws._volumes import Volumes

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec, Transport, Wire
    from skyward_aws._ami import Image
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS
    from skyward_aws._ssm import Tunnels

__all__ = ["AWSSession"]

_log = logging.getLogger("skyward.aws")

_DAY = 86400.0
_SPOT_AGE = 300.0
"""Seconds for which spot prices are kept: they change a few times a day."""


class AWSSession:
    """Serves one pool.

    Args:
        settings: what the user asked for.
        identity: the pool's.
        api: the account, which has answered.
        tunnels: lead to machines whose port is out of reach.
    """

    def __init__(self, settings: AWS, identity: PoolIdentity, api: Api, tunnels: Tunnels) -> None:
        self._settings = settings
        self._identity = identity
        self._api = api
        self._tunnels = tunnels
        self._belongings = Belongings(api, settings, identity.pool_id)
        self._machines = Machines(api, settings, self._belongings)
        self._volumes = Volumes(api, settings)
        self._keys: tuple[KeyPair, KeyPair] | None = None
        self._images: dict[str, Image] = {}
        self._sold: frozenset[str] = frozenset()
        self._subnets: Subnets | None = None
        self._tried = False

    # ---- what there is

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What the region has that meets the request, the cheapest first."""
        settings, mark = self._settings, self._mark()
        told, on_demand, spot, places, own, _ = await asyncio.gather(
            kept(f"kinds-{mark}", _DAY, partial(_catalog.known, self._api)),
            self._on_demand(mark),
            kept(f"spot-{mark}", _SPOT_AGE, partial(_prices.spot, self._api)),
            self._places(),
            self._own_image(),
            self._volumes.check(spec.volumes),
        )
        kinds = _catalog.kinds_of(told)
        self._sold = frozenset(kinds)
        return offers_of(
            kinds.values(),
            Prices(on_demand, spot),
            spec,
            provider=settings.name,
            region=settings.region,
            zones=places.by_zone,
            architecture=settings.architecture or (own.architecture if own else None),
        )

    async def _on_demand(self, mark: str) -> dict[str, float]:
        """Prices on demand; without the permission to read them machines are sold at unknown ones."""
        try:
            return await kept(f"prices-{mark}", _DAY, partial(_prices.on_demand, self._api))
        except ProviderError as error:
            _log.warning("what machines cost is not known, nor what is saved: %s", error)
            return {}

    def _mark(self) -> str:
        """Tells what is kept of this account and region; zones have other names in another account."""
        whose = f"{self._api.account} {self._api.endpoint()}"
        return f"{self._settings.region}-{hashlib.sha256(whose.encode()).hexdigest()[:12]}"

    async def _places(self) -> Subnets:
        if self._subnets is None:
            self._subnets = await subnets(self._api, self._settings.subnet)
        return self._subnets

    async def _own_image(self) -> Image | None:
        return None if self._settings.ami is None else await self._image("", None)

    async def _image(self, architecture: str, offer: Offer | None) -> Image:
        """What a machine boots: the user's own image, or the newest for its architecture and accelerator."""
        accelerator = None if offer is None else offer.accelerator
        name = self._settings.ami or _ami.parameter_of(architecture, accelerator)
        if name not in self._images:
            if self._settings.ami is None:
                self._images[name] = await _ami.found(self._api, architecture, accelerator)
            else:
                self._images[name] = await _ami.described(self._api, name)
        return self._images[name]

    # ---- buying

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Buy machines of any of the request's offers, in any zone, by one question to AWS."""
        return await shielded(self._launch(request))

    async def _launch(self, request: LaunchRequest) -> list[Instance]:
        from skyward.spi import new_key_pair

        if self._keys is None:
            pool = self._identity.pool_id
            self._keys = await asyncio.to_thread(
                lambda: (new_key_pair(f"skyward {pool}"), new_key_pair(f"node of {pool}"))
            )
        places = await self._places()
        if not self._sold:
            await self.offers(request.spec)
        offers = [each for each in (request.offer, *request.alternatives) if each.instance_type in self._sold]
        if not offers:
            raise Unavailable(f"{request.offer.instance_type} is not sold in {self._settings.region}")
        images = await self._bootable(offers)
        offers = [each for each in offers if each.instance_type in images]
        await self._try_out(offers[0], images[offers[0].instance_type], places)
        free = list(request.nodes)
        machines: list[Instance] = []
        failures: list[ProviderError] = []
        async with self._belongings.needed(self._identity, self._keys[0], places.vpc) as keeping:
            for row in batches(offers, places.by_zone):
                try:
                    got = await self._order(row, images, keeping, places, nodes=len(free), max_price=request.max_price)
                except ProviderError as error:
                    if not machines:
                        raise
                    _log.warning("no more machines from AWS: %s", error)
                    break
                machines += [self._bought(each, row, places, free.pop(0)) for each in got.machines[: len(free)]]
                if not free:
                    break
                if got.why is not None:
                    failures.append(got.why)
                    _log.info("%d machine(s) less than were ordered: %s", len(free), got.why)
        if not machines:
            raise combined(failures)
        return machines

    async def _bootable(self, offers: Sequence[Offer]) -> dict[str, Image]:
        """What each instance type would boot; without those for which there is nothing.

        Raises:
            ProviderError: that is none of them.
        """
        images: dict[str, Image] = {}
        failures: list[ProviderError] = []
        for offer in offers:
            architecture = str(offer.details.get("architecture", "x86_64"))
            try:
                image = await self._image(architecture, offer)
            except Unavailable as error:
                failures.append(error)
                continue
            if image.architecture == architecture:
                images[offer.instance_type] = image
            else:
                failures.append(
                    Unavailable(
                        f"{offer.instance_type} is {architecture} and {image.id} is for {image.architecture}: give an "
                        "image of its architecture in AWS(ami=...)"
                    )
                )
        if not images:
            raise combined(failures)
        return images

    async def _try_out(self, offer: Offer, image: Image, places: Subnets) -> None:
        """Try, once and before anything is made, whether the account may do what a pool needs."""
        if self._tried or self._keys is None:
            return
        tags = pairs(tags_of(self._identity))
        subnet = next(iter(places.by_zone.values()))
        own = self._settings.security_group is None
        requests = trials(
            key=self._keys[0].public,
            image=image.id,
            kind=offer.instance_type,
            subnet=subnet,
            vpc=places.vpc,
            tags=tags,
            group=own,
            profile=self._settings.instance_profile,
        )
        await try_out(self._api, requests)
        self._tried = True

    async def _order(
        self,
        row: Sequence[Offer],
        images: Mapping[str, Image],
        keeping: Keeping,
        places: Subnets,
        *,
        nodes: int,
        max_price: float | None,
    ) -> Ordered:
        """Order machines of a row of offers, of which each boots its image."""
        assert self._keys is not None
        key, host_key = self._keys
        tags, market = tags_of(self._identity), row[0].market
        text = user_data(self._identity, key, host_key, user=self._settings.user, now=time.time())
        rows: dict[Image, list[Offer]] = {}
        for offer in row:
            rows.setdefault(images[offer.instance_type], []).append(offer)
        data = {
            image.id: (
                template(
                    self._settings,
                    image,
                    key=keeping.key,
                    group=keeping.group,
                    user_data=text,
                    tags=tags,
                    market=market,
                ),
                those,
            )
            for image, those in rows.items()
        }
        return await order(
            self._api, row, data, places.by_zone, nodes=nodes, market=market, max_price=max_price, tags=tags
        )

    def _bought(self, machine: Bought, row: Sequence[Offer], places: Subnets, node: int) -> Instance:
        """A machine that was bought just now, at the price of its zone."""
        zones = {subnet: zone for zone, subnet in places.by_zone.items()}
        offer = next((each for each in row if each.instance_type == machine.instance_type), row[0])
        identity, zone = self._identity, zones.get(machine.subnet, "")
        return self._machines.note(
            Instance(
                id=machine.id,
                state=InstanceState.PENDING,
                pool_id=identity.pool_id,
                node=node,
                offer=zone_offer(offer, zone),
                deadline=identity.deadline,
                owner=identity.owner,
                client=identity.client,
                details={"region": self._settings.region, "zone": zone, "market": offer.market},
            )
        )

    # ---- what became of them

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """What AWS says of machines, in whatever region they are."""
        return await self._machines.describe(ids)

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End machines, and remove what their pools have beside once the last one is gone."""
        await shielded(self._machines.terminate(ids))

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Move the deadline that the tags tell."""
        self._identity = evolve(self._identity, deadline=deadline)
        await self._machines.move(ids, deadline)

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Machines by their tags: of a pool in this region, of all pools in every region of the account."""
        return await self._machines.listed(pool_id)

    async def list_left(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """What pools have left beside machines, by its tags: key pairs, security groups and what else bears them."""
        return await self._machines.left(pool_id)

    def transport(self, instance: Instance, wire: Wire, /) -> Transport:
        """SSH to the machine's address, or through Session Manager."""
        from skyward.spi import NODE_FOLDER, SshAddress, SshTransport

        key, host_key = self._keys or (None, None)
        address = SshAddress(
            host=instance.id if self._settings.use_ssm else instance.ip or "",
            username=self._settings.user,
            host_key=None if host_key is None else host_key.public,
            key=key,
        )

        async def ended() -> bool:
            found = (await self.describe([instance.id])).get(instance.id)
            return found is None or found.state is InstanceState.GONE

        name = f"node {instance.node} ({instance.id})"
        return SshTransport(
            name,
            address,
            self._identity,
            wire,
            folder=NODE_FOLDER,
            ended=ended,
            proxy=partial(self._tunnels.to, instance.id),
            proxy_after=0.0 if self._settings.use_ssm else _ssm.FALL_BACK,
            mounts=(lambda: self._volumes.mounts(self._identity.deadline)) if self._volumes.asked else None,
        )

    def lookout(self, instance: Instance, /) -> str:
        """The program that asks a spot machine's metadata whether it is taken back."""
        del instance
        return resources.files("skyward_aws").joinpath("_spot_notice.py").read_text(encoding="utf-8")

    async def close(self) -> None:
        """Remove what this pool has beside machines, and those pools whose machines were ended."""
        try:
            await self._machines.clear()
        except ProviderError as error:
            _log.warning("something of pool %s may be left at AWS: %s", self._identity.pool_id, error)
        await self._api.close()
