"""What a pool does with Acme: what is for sale, and how one machine is made, found and ended."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from attrs import frozen

import skyward as sky
from skyward.spi import Answer, ComputeSpec, Instance, InstanceState, MachineLabel, Market, Offer, Order, RestSession
from skyward_acme.provider import Acme

MARKETS: tuple[Market, ...] = ("spot", "on-demand")
STATES = {"building": InstanceState.PENDING, "on": InstanceState.RUNNING}


@frozen
class Kind:
    """What Acme sells. Prices are in dollars for an hour."""

    name: str
    cpus: int
    gigabytes: float
    price: float
    spot_price: float

    def fits(self, spec: ComputeSpec) -> bool:
        """Whether it meets a request. Acme has no accelerators."""
        named = spec.machine in (None, self.name) and spec.accelerator is None
        return named and self.cpus >= (spec.cpu or 0) and self.gigabytes >= (spec.memory_gb or 0)

    def offer(self, region: str, market: Market) -> Offer:
        """The same as core compares it with other offers."""
        return Offer(
            provider=Acme.name,
            instance_type=self.name,
            region=region,
            market=market,
            price=self.spot_price if market == "spot" else self.price,
            on_demand_price=self.price,
            vcpu=self.cpus,
            memory_gb=self.gigabytes,
        )


@frozen
class Machine:
    """A machine as Acme tells of it; fields that are of no use here are left out."""

    id: str
    label: str | None
    state: str
    address: str | None = None
    port: int | None = None

    def instance(self, label: MachineLabel) -> Instance:
        """The same as core sees it."""
        state = STATES.get(self.state, InstanceState.GONE)
        return label.instance(self.id, state, ip=self.address, details={"port": self.port})


@frozen
class Page:
    """A part of the list of machines, and the number of the next one."""

    machines: list[Machine]
    next: int | None


def explain(answer: Answer) -> sky.ProviderError | None:
    """What Acme's own codes mean; all other answers mean what their status says."""
    if answer.code == "sold_out":
        return sky.Unavailable(f"Acme has no such machine left: {answer.words}")
    if answer.code == "over_quota":
        return sky.QuotaExceeded(f"Acme allows no further machine: {answer.words}", quota="machines")
    return None


class AcmeSession(RestSession[Acme]):
    """The machines of one pool. How they are launched side by side, awaited and cleared away is `RestSession`'s."""

    injects_host_keys = True
    lag = 0.0  # Acme lists what it has made at once

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What meets the request, on spot and on demand, the cheapest first."""
        region = self.settings.region
        kinds = await self.rest.ask("GET", "/v1/kinds", params={"region": region}, into=list[Kind])
        found = [kind.offer(region, market) for kind in kinds if kind.fits(spec) for market in MARKETS]
        return sorted(found, key=lambda offer: offer.price or 0)

    async def _create(self, order: Order) -> Instance:
        assert order.host_key is not None
        text = order.label.text()
        body = {
            "kind": order.offer.instance_type,
            "region": order.offer.region,
            "spot": order.offer.market == "spot",
            "label": text,
            "login_key": order.key.public,
            "host_key": order.host_key.private,
            "boot_script": order.script,
        }

        async def find() -> Machine | None:
            return next((each for each in await self._all() if each.label == text), None)

        made = await self.rest.create("POST", "/v1/machines", body=body, into=Machine, find=find)
        return made.instance(order.label)

    async def _all(self) -> list[Machine]:
        return await self.rest.pages(
            "/v1/machines",
            into=Page,
            items=lambda page: page.machines,
            next=lambda page: {"page": page.next} if page.next else None,
        )

    async def _machines(self) -> list[Instance]:
        return [each.instance(label) for each in await self._all() if (label := MachineLabel.read(each.label))]

    async def _delete(self, id: str) -> None:
        await self.rest.ask("DELETE", f"/v1/machines/{quote(id, safe='')}", absent=None)

    async def _relabel(self, id: str, label: MachineLabel) -> None:
        await self.rest.ask("PUT", f"/v1/machines/{quote(id, safe='')}", body={"label": label.text()}, absent=None)
