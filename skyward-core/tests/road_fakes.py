"""The road from a request to machines and back, over fake clouds whose nodes are simulated, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skyward import ComputePool
from skyward._cost import CostMeter
from skyward._dispatcher import Dispatcher
from skyward._road import Road
from skyward.model.events import SkywardEvent
from skyward.model.offer import Offer
from skyward.testing import After, FakeCloud, Hang, Late, on_demand, spot
from skyward.testing._loop import ClientDied, VirtualLoop, run, virtually

__all__ = [
    "After",
    "ClientDied",
    "FakeProvider",
    "Hang",
    "Journey",
    "Late",
    "VirtualLoop",
    "on_demand",
    "run",
    "spot",
    "virtually",
]


class FakeProvider(FakeCloud):
    """A fake cloud with simulated nodes, which a `Journey` takes for a provider; ``boot`` is its ``boot_seconds``."""

    def __init__(
        self,
        name: str = "Fake",
        offers: Sequence[Offer] | None = None,
        *,
        boot: float | None = 0.0,
        script: Mapping[str, Sequence[object]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name, offers=offers, boot_seconds=boot, script=script, nodes="simulated", **more)


class _Bus:
    """Keeps every event."""

    def __init__(self, events: list[SkywardEvent]) -> None:
        self.emit = events.append

    def wants(self, kind: type[SkywardEvent]) -> bool:
        return True


class _Reactor:
    """Timers of the running loop; simulated nodes need no sockets."""

    def __init__(self) -> None:
        self.call_later = asyncio.get_running_loop().call_later


class Journey:
    """A road over fake clouds, with all that it leaves behind for a test to look at.

    Make it on a running loop. Parameters are those of a pool. As a pool does, it says a word to its nodes now and then.
    """

    def __init__(self, *providers: FakeCloud, **parameters: Any) -> None:
        self.providers = providers
        self.events: list[SkywardEvent] = []
        self.cost = CostMeter(asyncio.get_running_loop().time)
        bus: Any = _Bus(self.events)
        reactor: Any = _Reactor()
        self.dispatcher = Dispatcher(bus, reactor)
        sold_by = [cloud.provider for cloud in providers]
        options = ComputePool(provider=sold_by, display="quiet", **parameters)._pool_options
        self.road = Road(options, bus, reactor, self.dispatcher, self.cost)
        self._keep_leases()

    def _keep_leases(self) -> None:
        for node in list(self.dispatcher.nodes.values()):
            node.renew()
        lease = self.road.lease
        asyncio.get_running_loop().call_later(5.0 if lease is None else lease / 4, self._keep_leases)

    async def there_and_back(self) -> None:
        """Provision, then end."""
        await self.road.provision()
        await self.road.destroy()

    @property
    def names(self) -> list[str]:
        """The classes of the events so far."""
        return [type(event).__name__ for event in self.events]

    @property
    def alive(self) -> list[str]:
        """The ids of the machines that cost money."""
        return [machine.id for cloud in self.providers for machine in cloud.alive]

    def leftovers(self, state: Path) -> Iterator[str]:
        """Whatever the road should not have left."""
        for cloud in self.providers:
            yield from (f"machine {machine.id}" for machine in cloud.alive)
            yield from (f"road to {name}" for name in cloud.open_roads)
            if cloud.open_sessions:
                yield f"{cloud.open_sessions} session(s) of {cloud.name}"
        yield from (f"ledger {path.name}" for path in state.rglob("*.jsonl"))
        running = self.cost.update()
        if running.hourly_rate or running.spot_count or running.ondemand_count:
            yield f"a running cost of {running.hourly_rate}"
