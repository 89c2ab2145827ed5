"""What one test of a provider opens and buys, and its removal, whatever becomes of the test."""

from __future__ import annotations

import asyncio
import functools
import pickle
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import evolve

from skyward._selection import fits
from skyward.errors import QuotaExceeded, Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.spi.provider import LaunchRequest, PoolIdentity, Provider
from skyward.testing.conformance._guarded import Guarded, asked, living
from skyward.testing.conformance._kit import Broken, check

if TYPE_CHECKING:
    from skyward.testing.conformance._rules import ProviderRules

__all__ = ["Account"]


class Account:
    """A provider for the time of one test. As an asynchronous context manager it removes what the test has bought.

    Removing goes by what ``launch`` returned and what ``list_owned`` finds by a pool's id. A machine that bears another
    pool's id is never touched, and neither is one that is listed for a pool that never was.

    Args:
        kit: the test's class, with its settings.
        provider: what is tested.
    """

    def __init__(self, kit: ProviderRules, provider: Provider) -> None:
        self.kit = kit
        self.provider = provider
        self.spec = kit.spec()
        self.patience = kit.patience
        self._sessions: list[Guarded] = []
        self._bought: dict[str, set[str]] = {}
        self._standing: set[str] = set()
        self._things: set[str] = set()

    # ---- opening

    def identity(self, *, life: float = 3600.0, lease: float | None = 600.0) -> PoolIdentity:
        """Of a new pool, whose machines live for ``life`` seconds, and for ``lease`` without a word of their client."""
        return PoolIdentity(
            pool_id=f"conformance-{secrets.token_hex(6)}",
            owner=self.kit.owner,
            deadline=self.kit.now() + life,
            lease=lease,
            token=secrets.token_bytes(32),
            client=f"conformance-{secrets.token_hex(4)}",
        )

    async def open(self, identity: PoolIdentity | None = None) -> Guarded:
        """Open a session, for a new pool unless its identity is given."""
        chosen = self.identity() if identity is None else identity
        return await self._open(self.provider, chosen)

    async def stranger(self) -> Guarded:
        """A session of another client of the same owner, for another pool; it knows nothing of the others."""
        try:
            twin: Provider = pickle.loads(pickle.dumps(self.provider))
        except Exception as error:
            raise Broken(f"the settings do not pickle ({error}); keep plain values in them") from error
        return await self._open(twin, self.identity())

    async def _open(self, provider: Provider, identity: PoolIdentity) -> Guarded:
        raw = await asked("open", lambda: provider.open(identity), self.patience)
        session = Guarded(self, raw, identity)
        self._sessions.append(session)
        return session

    # ---- buying

    def remember(self, identity: PoolIdentity, machines: Sequence[Instance]) -> None:
        """Have these removed when the test is over."""
        self._bought.setdefault(identity.pool_id, set()).update(machine.id for machine in machines)

    async def offers(self, session: Guarded) -> list[Offer]:
        """Those that meet the request of the tests; there must be some."""
        offers = [offer for offer in await session.offers(self.spec) if fits(offer, self.spec)]
        check(offers, f"there is no offer for {self.spec!r}; return a request from spec() that the provider can meet")
        return offers

    async def order(self, session: Guarded, *nodes: int) -> LaunchRequest:
        """An order for these nodes of the first offer that has room for them."""
        offers = await self.offers(session)
        wide = [offer for offer in offers if offer.capacity is None or offer.capacity >= len(nodes)]
        check(
            wide,
            f"no offer has room for {len(nodes)} machines; give the tests a request, by spec(), that can be had",
        )
        return LaunchRequest(offer=wide[0], nodes=nodes, spec=evolve(self.spec, nodes=len(nodes)))

    async def launch(self, session: Guarded, *nodes: int) -> list[Instance]:
        """Launch these nodes, from one offer after another as core does; all of them must come."""
        machines: list[Instance] = []
        answers: list[str] = []
        for offer in await self.offers(session):
            if len(machines) >= len(nodes):
                break
            left = [node for node in nodes if node not in {machine.node for machine in machines}][: offer.capacity]
            if not left:
                continue
            request = LaunchRequest(offer=offer, nodes=tuple(left), spec=evolve(self.spec, nodes=len(nodes)))
            try:
                machines += await session.launch(request)
            except (Unavailable, QuotaExceeded) as error:
                answers.append(f"{offer.instance_type}: {error}")
        check(
            len(machines) >= len(nodes),
            f"{len(machines)} of {len(nodes)} machine(s) could be launched ({', '.join(answers) or 'no error'}); give "
            "the tests a request, by spec(), that can be had",
        )
        return machines

    async def running(self, session: Guarded, machines: Sequence[Instance]) -> list[Instance]:
        """Wait until all run."""
        ids = [machine.id for machine in machines]
        found: dict[str, Instance] = {}

        async def waiting() -> str:
            found.clear()
            found.update(await session.describe(ids))
            states = {name: found[name].state if name in found else "not known" for name in ids}
            late = [f"{name} is {state}" for name, state in states.items() if state is not InstanceState.RUNNING]
            if not late:
                return ""
            return f"{', '.join(late)} {self.patience:g} s after launch; say RUNNING as soon as the vendor does"

        await self.until(waiting)
        return [found[name] for name in ids]

    # ---- looking

    def standing(self) -> set[str] | None:
        """The machines that exist by the word of the author's server and came since the test began; ``None`` if it is
        not asked.
        """
        existing = self.kit.existing()
        return None if existing is None else set(existing) - self._standing

    def belongings(self) -> set[str]:
        """What exists beside machines by the word of the author's server, and came since the test began."""
        vendor = self.kit.vendor()
        return set() if vendor is None else set(vendor.belongings()) - self._things

    async def unfound(self, session: Guarded, after: str) -> str:
        """What exists by the word of the author's server and is not found by the pool's tag, in words."""
        there = self.standing() or set()
        lost = there - living(await session.list_owned(session.identity.pool_id)) if there else there
        if not lost:
            return ""
        return (
            f"{', '.join(sorted(lost))} exists after {after} and list_owned does not find it; tag machines in the very "
            "request that creates them"
        )

    async def until(self, problem: Callable[[], Awaitable[str]], patience: float | None = None) -> None:
        """Look until there is no problem any more; after ``patience`` it is :class:`Broken`."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + (self.patience if patience is None else patience)
        pause = 0.02
        while said := await problem():
            if loop.time() >= limit:
                raise Broken(said)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, self.kit.longest_pause)

    async def end(self, session: Guarded, ids: Collection[str]) -> None:
        """Terminate, and wait until they are gone."""
        await session.terminate(ids)
        await self.until(lambda: session.gone(ids))

    # ---- removing

    async def __aenter__(self) -> Self:
        self._standing = set(self.kit.existing() or ())
        vendor = self.kit.vendor()
        self._things = set() if vendor is None else set(vendor.belongings())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        problems = await self._removed()
        if not problems:
            return
        said = f"what the test bought is not removed: {'; '.join(dict.fromkeys(problems))}; look for it by hand"
        if error is None:
            raise Broken(said)
        error.add_note(said)

    async def _removed(self) -> list[str]:
        """Remove what is left and close the sessions; what was in the way, in words."""
        problems: list[str] = []
        vendor = self.kit.vendor()
        if vendor is not None:
            vendor.reset()
        for session in self._sessions:
            ids = self._bought.get(session.identity.pool_id)
            if ids and not session.closed:
                await self._try(problems, self.end(session, ids))
        pools = {session.identity.pool_id for session in self._sessions}
        for session in self._sessions:
            if not session.closed:
                await self._try(problems, session.close())
        if pools:  # else nothing can have been bought
            await self._try(problems, self._swept(pools))
        if left := self.standing():
            problems.append(f"{', '.join(sorted(left))} exist, by the word of existing()")
        if things := self.belongings():
            problems.append(f"{', '.join(sorted(things))} exist, by the word of belongings()")
        return problems

    async def _swept(self, pools: Collection[str]) -> None:
        """End whatever bears the id of one of the pools, by a session that takes no part in the test."""
        broom = await self.open()
        try:
            await self._sweep(broom, pools)
        finally:
            await broom.close()

    async def _sweep(self, broom: Guarded, pools: Collection[str]) -> None:
        # A provider that lists machines for a pool that never was would make us end machines of others.
        control = living(await broom.list_owned(broom.identity.pool_id))
        for pool_id in pools:
            bought = self._bought.get(pool_id, set())
            found = [machine for machine in await broom.list_owned(pool_id) if machine.pool_id == pool_id]
            if ids := {name for name in living(found) if name in bought or name not in control}:
                await self.end(broom, ids)
        for pool_id in pools if self.belongings() else ():
            await self.until(functools.partial(self._cleared, broom, pool_id))

    async def _cleared(self, broom: Guarded, pool_id: str) -> str:
        """Remove what a pool has left beside machines. What it still has, in words."""
        left = [thing.id for thing in await broom.list_left(pool_id) if thing.pool_id == pool_id]
        if left:
            await broom.terminate(left)
        return f"{', '.join(left)} is left" if left else ""

    async def _try(self, problems: list[str], step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as failure:  # noqa: BLE001  whatever it is, the rest is to be removed as well
            problems.append(str(failure).partition(";")[0])
