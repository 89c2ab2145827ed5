"""What a pool holds of a fake cloud while it is open: a session, and the roads to its machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from skyward.errors import NodeLost
from skyward.model.instance import Instance
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import LaunchRequest, PoolIdentity
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Transport, Wire

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step
    from skyward.model.image import Image
    from skyward.testing._backend import Backend

__all__ = ["FakeSession", "FakeTransport"]


class FakeSession:
    """An open account. Machines are the cloud's, and outlive it."""

    def __init__(self, backend: Backend, identity: PoolIdentity) -> None:
        self.identity = identity
        self._backend = backend
        self._open = True

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What the cloud sells, with what is left of each offer's capacity."""
        answer: Sequence[Offer] = await self._backend.act("offers", spec, lambda: self._backend.offers(spec))
        return answer

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Buy machines."""
        answer: Sequence[Instance] = await self._backend.act("launch", request, lambda: self.create(request))
        return answer

    def create(self, request: LaunchRequest) -> list[Instance]:
        """What an ordinary launch does; for scripts that do it at another time, or in another way."""
        return self._backend.launch(self.identity, request)

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """The present state of machines."""
        wanted = list(ids)
        answer: Mapping[str, Instance] = await self._backend.act(
            "describe", wanted, lambda: self._backend.describe(wanted)
        )
        return answer

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End machines."""
        wanted = list(ids)
        await self._backend.act("terminate", wanted, lambda: self._backend.terminate(wanted))
        for each in wanted:
            record = self._backend.records.get(each)
            if record is not None and record.ended is not None:
                await record.body.remove()

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Move what the machines' tags tell of their deadline; the nodes' own is moved by their client."""
        wanted = list(ids)

        def work() -> None:
            self.identity = evolve(self.identity, deadline=deadline)
            self._backend.retag(wanted, deadline)

        await self._backend.act("extend", (wanted, deadline), work)

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Find machines by their tags."""
        answer: Sequence[Instance] = await self._backend.act(
            "list_owned", pool_id, lambda: self._backend.owned(self.identity, pool_id)
        )
        return answer

    def transport(self, instance: Instance, wire: Wire, /) -> FakeTransport:
        """The road to a machine. Of a script only exceptions are followed here."""
        self._backend.calls.append(("transport", instance.id))
        entry = self._backend.script.next("transport")
        if isinstance(entry, BaseException):
            raise entry
        self._backend.expire()
        record = self._backend.records.get(instance.id)
        if record is None:
            raise NodeLost(f"{self._backend.name} knows no machine {instance.id}: it was never bought there")
        if record.ended is not None:
            raise NodeLost(f"machine {instance.id} has ended: {record.why}", node=record.node)
        return FakeTransport(self._backend, instance.id, record.body.road(self.identity, wire))

    def lookout(self, instance: Instance, /) -> str | None:
        """What tells a machine that it will be taken back."""
        record = self._backend.records.get(instance.id)
        return None if record is None else record.body.lookout()

    async def close(self) -> None:
        """Close the account."""

        def work() -> None:
            if self._open:
                self._open = False
                self._backend.open_sessions -= 1

        await self._backend.act("close", None, work)


class FakeTransport:
    """The road to one machine, with its script."""

    def __init__(self, backend: Backend, machine_id: str, road: Transport) -> None:
        self._backend = backend
        self._id = machine_id
        self._road = road
        backend.open_roads.add(machine_id)

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """Make the machine ready."""
        return await self._road.bootstrap(image, report, steps)

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Open a link."""
        await self._backend.act("transport.open", (self._id, name), lambda: None)
        return await self._road.open(name, receiver)

    async def close(self) -> None:
        """Let go of the road."""
        await self._backend.act("transport.close", self._id, lambda: self._backend.open_roads.discard(self._id))
        await self._road.close()
