"""What sessions of vendors with a REST API share, so that a vendor's own is small."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import evolve

from skyward._concurrency import all_of, shielded, together
from skyward._rest.client import RestClient
from skyward._rest.ending import bury, end
from skyward._rest.keys import Keys
from skyward._rest.known import Known, exists
from skyward._rest.label import LABEL, MachineLabel
from skyward._rest.launching import launch
from skyward._rest.order import Order
from skyward._rest.reaching import road
from skyward.errors import ProviderError
from skyward.model.first_boot import NODE_FOLDER, first_boot_script
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.model.ssh import KeyPair
from skyward.spi.provider import LaunchRequest, Opens, PoolIdentity
from skyward.spi.transport import Transport, Wire

__all__ = ["RestSession"]

_log = logging.getLogger("skyward.rest")


class RestSession[S: Opens](ABC):
    """A session whose machines are made one by one, bear a `MachineLabel`, and are reached over SSH.

    A vendor's own class says what is for sale, makes one machine, lists them and ends one:

        class MoonSession(RestSession[Moon]):
            async def offers(self, spec): ...
            async def _create(self, order): return await self.rest.create("POST", "/moons", ..., find=...)
            async def _machines(self): ...
            async def _delete(self, id): await self.rest.ask("DELETE", f"/moons/{quote(id, safe='')}", absent=None)
            async def _relabel(self, id, label): ...

    Where pools have more there than machines, it has ``_prepare`` and ``_clear``, and ``list_left`` (see `Belongings`):
    the ids of such things have a slash, and come to ``_look`` and ``_delete`` as well.

    Args:
        settings: what the user asked for.
        identity: the pool's. ``extend`` moves its deadline.
        rest: the account, which is closed with the session.
        user: who logs in.
    """

    width: ClassVar[int] = 8
    """Machines that are made, or ended, at the same time."""
    singly: ClassVar[int] = 1
    """So many machines are looked at one by one, if ``_look`` can do that; more, by a list of all."""
    settle: ClassVar[float] = 30.0
    """Seconds for which ``terminate`` waits for the vendor's word that machines are gone."""
    lag: ClassVar[float] = 60.0
    """Seconds for which lists may not show yet that a machine was made or relabelled; 0 where they always do."""
    injects_host_keys: ClassVar[bool] = False
    """Whether ``_create`` gives machines ``Order.host_key``; else the key of the first contact counts."""
    folder: ClassVar[str | None] = NODE_FOLDER
    """The node's folder on a machine; ``None`` where the first boot's script is not run."""

    def __init__(self, settings: S, identity: PoolIdentity, rest: RestClient, *, user: str = "root") -> None:
        self.settings = settings
        self.identity = identity
        self.rest = rest
        self.user = user
        self.known = Known(rest.waits.now, self.lag)
        self.keys = Keys(identity.pool_id, rest.hide)
        self._belongings = asyncio.Lock()
        self._orders = 0
        self._prepared = False
        self._dirty = False
        self._closed = False

    # ---- what a vendor's class says

    @abstractmethod
    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What meets the request, in the order in which it is wanted."""

    @abstractmethod
    async def _create(self, order: Order) -> Instance:
        """Make one machine that bears ``order.label``, by `RestClient.create`, and return it, ready or not.

        Raises:
            ProviderError: it was not made. After `Unavailable`, `QuotaExceeded` and `AuthenticationFailed` no further
                machine of the offer is asked for.
        """

    @abstractmethod
    async def _machines(self) -> Iterable[Instance]:
        """All machines of the account that bear a label, of whatever pool, as `MachineLabel.instance` makes them.

        One that serves nobody any more and costs until it is ended, such as one that was outbid or has stopped, is
        `GONE` with ``"billed": True`` among its details: its pool replaces it, and whoever looks at it next ends it.
        """

    @abstractmethod
    async def _delete(self, id: str) -> None:  # noqa: A002  as Instance calls it
        """End a machine in the way that is billed as ended, with its disks. One that is gone is no error."""

    @abstractmethod
    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002
        """Have a machine bear another label: the same with another deadline. One that is gone is no error."""

    async def _look(self, id: str) -> Instance | None:  # noqa: A002
        """One machine, as ``_machines`` tells of it; ``None`` when the vendor does not know it."""
        return next((each for each in await self._machines() if each.id == id), None)

    async def _complete(self, order: Order, machine: Instance) -> Instance:
        """What is to be done with a machine once it is made; if that fails, it is removed."""
        return machine

    async def _prepare(self) -> None:  # noqa: B027  few have anything to do here
        """Make what machines of this pool need beside them, such as its public key (`key`) in the account.

        Called before the first one, and again after it failed or `_clear` has removed what it made.
        """

    async def _clear(self, pool_id: str) -> None:  # noqa: B027  as above
        """Remove what a pool has beside machines, of which it has none any more. What is gone is no error."""

    def _switch(self, lifetime: float | None) -> str:
        """The text of ``Order.script``: the dead man's switch. ``lifetime`` is in seconds from now."""
        return first_boot_script(lifetime=lifetime, lease=self.identity.lease, user=self.user)

    def _road(self, instance: Instance) -> Mapping[str, Any]:
        """Further arguments of `SshTransport` for a machine, such as ``variables``."""
        return {}

    # ---- buying

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Make machines side by side, and return those that there are.

        A cancellation stops what has not begun, waits for the rest, and removes what was made.

        Raises:
            ProviderError: there is none; the most telling one, of several.
        """
        return await launch(self, request)

    async def order(self, request: LaunchRequest, node: int) -> Order:
        """What to make for a node."""
        host_key = await self.keys.of_host(node) if self.injects_host_keys else None
        deadline = self.identity.deadline
        lifetime = None if deadline is None else max(deadline - self.rest.waits.clock.time(), 1.0)
        return Order(
            offer=request.offer,
            node=node,
            label=MachineLabel.of(self.identity, node),
            key=await self.key(),
            host_key=host_key,
            script=self._switch(lifetime),
            spec=request.spec,
            max_price=request.max_price,
        )

    async def key(self) -> KeyPair:
        """The key pair of the pool's client, for ``_prepare``."""
        return await self.keys.of_client()

    def note(self, machine: Instance, order: Order) -> None:
        """A machine was made."""
        self.known.note(machine)
        if order.host_key is not None:
            self.keys.hosts[machine.id] = order.host_key.public

    @contextlib.asynccontextmanager
    async def needed(self) -> AsyncGenerator[None]:
        """Within, the pool has what its machines need, and keeps it."""
        async with self._belongings:
            if not self._prepared:
                self._dirty = True
                await self._prepare()
                self._prepared = True
            self._orders += 1
        try:
            yield
        finally:
            self._orders -= 1

    # ---- looking

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """The present state of machines and belongings; what bears no label of a pool is left out.

        Of this pool, what is gone and still billed is ended.
        """
        # No vendor has such ids, and in a path they would name something else.
        names = [name for name in dict.fromkeys(ids) if name.strip(". ")]
        alone = type(self)._look is not RestSession._look
        listing = sum("/" not in name for name in names) > (self.singly if alone else 0)
        listed = {each.id: each for each in await self._machines()} if listing else {}
        # What a list leaves out may be there all the same.
        missing = [name for name in names if name not in listed] if alone else []
        looked = await together(self._look(name) for name in missing)
        told = {name: listed[name] for name in names if name in listed}
        told |= {each.id: each for each in looked if each is not None}
        found = {name: full for name, each in told.items() if (full := self.known.told(each)) is not None}
        found |= {each.id: each for each in self.known.untold(set(names) - found.keys())}
        await bury(self, found.values())
        return found

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """The machines that bear a label: of one pool, or of all of this account."""
        told = [full for each in await self._machines() if (full := self.known.told(each)) is not None]
        there = {each.id: each for each in (*self.known.untold(), *told) if exists(each)}
        return [
            evolve(each, state=InstanceState.PENDING) if each.state is InstanceState.GONE else each
            for each in there.values()
            if pool_id is None or each.pool_id == pool_id
        ]

    # ---- ending, and moving deadlines

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End machines, and remove belongings; what the last machine of a pool leaves behind goes with it.

        One that fails does not stop the others. What bears no label of a pool is left alone.

        Raises:
            ProviderError: something is left; the most telling one, of several.
        """
        if ids:
            await shielded(end(self, ids))

    async def clear(self, pool_id: str) -> None:
        """Remove what a pool has beside machines, unless it has machines."""
        if type(self)._clear is RestSession._clear:
            return
        async with self._belongings:
            own = pool_id == self.identity.pool_id
            if own and self._orders:
                return
            if any(each.pool_id == pool_id for each in await self.list_owned()):
                return
            await self._clear(pool_id)
            if own:
                self._prepared = self._dirty = False

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Move the deadline that labels tell, and that of machines to come."""
        self.identity = evolve(self.identity, deadline=deadline)
        found = await self.describe(ids) if ids else {}

        async def move(machine: Instance) -> None:
            label = MachineLabel.read(str(machine.details.get(LABEL, "")))
            if label is not None:
                await self._relabel(machine.id, evolve(label, deadline=round(deadline, 3)))
                self.known.move(machine.id, deadline)

        await all_of(move(each) for each in found.values() if each.state is not InstanceState.GONE)

    # ---- reaching

    def transport(self, instance: Instance, wire: Wire, /) -> Transport:
        """SSH to the address, and to the port of ``details["port"]`` if it has one."""
        return road(self, instance, wire)

    async def close(self) -> None:
        """Remove what this pool has beside machines, if it has none any more, and let go of the account."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._dirty:
                await self.clear(self.identity.pool_id)
        except ProviderError as error:
            _log.warning("something of pool %s may be left at %s: %s", self.identity.pool_id, self.rest.vendor, error)
        finally:
            await self.rest.aclose()
