"""Removing what dead clients left behind: first found, then ended and proven gone.

With the ledgers, a pool whose client is dead is known by name, and whatever bears its tag is ended. Without them, the
machines' own tags must do: whose client has died, as far as that can be told from here, or whose deadline has passed.
What a living client's pool has is never touched.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from attrs import frozen

from skyward import _clock
from skyward._accounts import Account, claimed, read_all
from skyward._asking import persistently
from skyward._client import client_lives
from skyward._concurrency import all_of
from skyward._ledger import fingerprint
from skyward._market import Seller
from skyward._teardown import LATE, describe, sweep, terminate
from skyward._visiting import left, opened, owned
from skyward.errors import SkywardError
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import Provider

__all__ = ["Found", "Orphan", "Removed", "clear", "find", "remove", "tidy", "why_orphaned"]

_log = logging.getLogger("skyward.reap")

_SKEW = 60.0
"""Seconds after its deadline in which a machine may still be ending itself, or by which clocks may differ."""


@frozen
class Orphan:
    """A machine that is nobody's any more, or what was beside one: the provider's settings, it, and what tells so."""

    provider: Provider
    machine: Instance
    why: str


@frozen
class Found:
    """What dead clients left behind.

    Attributes:
        providers: those that were asked, by their settings.
        orphans: machines that are nobody's any more.
        pools: what the ledgers of dead clients tell.
        unanswered: the providers that did not answer, and why.
    """

    providers: tuple[Provider, ...]
    orphans: tuple[Orphan, ...]
    pools: tuple[Account, ...]
    unanswered: tuple[tuple[Provider, str], ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """In words, what could not be found out although a ledger says that there may be something."""
        return tuple(self.problem(provider, why) for provider, why in self.unanswered if self.concerns(provider))

    def concerns(self, provider: Provider) -> bool:
        """Whether a pool of a dead client may have machines that these settings of a provider lead to."""
        return any(_concerns(provider, pool, self.providers) for pool in self.pools)

    def problem(self, provider: Provider, why: object) -> str:
        """In words, that a provider cannot be asked, and which ledgers make that matter."""
        ledgers = [str(pool.path) for pool in self.pools if _concerns(provider, pool, self.providers)]
        remedy = f"; if no machines are left there, remove {' and '.join(ledgers)}" if ledgers else ""
        return f"{provider.name}: {why}{remedy}"


@frozen
class Removed:
    """What was removed.

    Attributes:
        machines: provider and id of each machine that was ended.
        pools: ids of the pools of which nothing is left; their ledgers are gone.
        problems: what could not be ended or proven, in words.
    """

    machines: tuple[tuple[str, str], ...] = ()
    pools: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


async def find(providers: Iterable[Provider]) -> Found:
    """Look for what dead clients left behind at these providers. A provider that fails does not stop the others."""
    asked = tuple(dict.fromkeys(providers))
    accounts = read_all()
    looked = await all_of(_look(provider, accounts) for provider in asked)
    # Several settings of one provider may lead to the same machine.
    orphans = {
        (orphan.provider.name, orphan.machine.pool_id, orphan.machine.id): orphan
        for found, _ in reversed(looked)
        for orphan in reversed(found)
    }
    return Found(
        providers=asked,
        orphans=tuple(reversed(orphans.values())),
        pools=tuple(account for account in accounts if not account.alive),
        unanswered=tuple((provider, why) for provider, (_, why) in zip(asked, looked, strict=True) if why),
    )


async def remove(found: Found, tell: Callable[[str, str], None] = lambda _provider, _machine: None) -> Removed:
    """End what was found, prove that it is gone, and remove the ledgers of which nothing is left.

    A provider that fails does not stop the others: what it may still have is among the problems. ``tell`` is called
    with the provider's name and the id of each machine once it is gone, perhaps several times.
    """
    problems: list[str] = []
    async with contextlib.AsyncExitStack() as sessions:
        sellers: list[Seller] = []
        for provider in found.providers:
            if not found.concerns(provider) and all(orphan.provider != provider for orphan in found.orphans):
                continue
            try:
                sellers.append(await sessions.enter_async_context(opened(provider)))
            except SkywardError as error:
                problems.append(found.problem(provider, error))
        removed = await clear(sellers, found.pools, found.orphans, tell)
    return Removed(removed.machines, removed.pools, (*problems, *removed.problems))


async def clear(
    sellers: Sequence[Seller],
    pools: Iterable[Account],
    orphans: Sequence[Orphan] = (),
    tell: Callable[[str, str], None] = lambda _provider, _machine: None,
) -> Removed:
    """`remove`, with sessions that are open already."""
    with contextlib.ExitStack() as claims:
        mine = [pool for pool in pools if claims.enter_context(claimed(pool.path))]
        outcomes = await all_of(_clear(seller, mine, orphans, tell) for seller in sellers)
        proven = [(seller.provider, done) for seller, (_, done, _) in zip(sellers, outcomes, strict=True)]
        over = [pool for pool in mine if _is_over(pool, [provider for provider, done in proven if pool in done])]
        for pool in over:
            pool.path.unlink(missing_ok=True)
    return Removed(
        machines=tuple(dict.fromkeys(machine for machines, _, _ in outcomes for machine in machines)),
        pools=tuple(pool.pool_id for pool in over),
        problems=tuple(problem for _, _, problems in outcomes for problem in problems),
    )


async def tidy(sellers: Sequence[Seller]) -> None:
    """What every pool does once its providers are open: `clear` the pools of dead clients that bought nowhere else.

    What fails is logged: the next pool does it again.
    """
    names = {seller.provider.name for seller in sellers}
    dead = [account for account in read_all() if not account.alive and account.asked <= names]
    if not dead:
        return
    removed = await clear(sellers, dead)
    for provider, machine in removed.machines:
        _log.warning("ended machine %s of %s, which a client that died had left behind", machine, provider)
    for problem in removed.problems:
        _log.warning("a client that died left something behind: %s", problem)


def why_orphaned(machine: Instance, living: Collection[str], dead: Collection[str], now: float) -> str | None:
    """Why a machine is nobody's any more; ``None`` when it is somebody's, or may be.

    Args:
        machine: as its provider listed it.
        living: pools whose ledgers are held by living clients.
        dead: pools whose ledgers are not.
        now: seconds since the epoch.
    """
    if not machine.pool_id or machine.pool_id in living:
        return None
    alive = client_lives(machine.client)
    if machine.pool_id in dead or alive is False:
        return "its client has died"
    # Of a client elsewhere nothing is known but what it has promised.
    if alive is None and machine.deadline is not None and now > machine.deadline + _SKEW:
        return "its deadline has passed"
    return None


async def _look(provider: Provider, accounts: Sequence[Account]) -> tuple[list[Orphan], str]:
    """The orphans at one provider, and what kept it from answering."""
    living = {account.pool_id for account in accounts if account.alive}
    dead = {account.pool_id for account in accounts if not account.alive}
    asked = [account.pool_id for account in accounts if not account.alive and provider.name in account.asked]
    try:
        async with opened(provider) as seller:
            listed: dict[str, Instance] = {}
            for pool_id in (None, *asked):
                found = [*await owned(seller, pool_id), *await left(seller, pool_id)]
                listed |= {each.id: each for each in found}
    except SkywardError as error:
        return [], str(error)
    now = _clock.current().time()
    known = [(machine, why_orphaned(machine, living, dead, now)) for machine in listed.values()]
    return [Orphan(provider, machine, why) for machine, why in known if why is not None], ""


async def _clear(
    seller: Seller, pools: Sequence[Account], orphans: Sequence[Orphan], tell: Callable[[str, str], None]
) -> tuple[list[tuple[str, str]], list[Account], list[str]]:
    """At one provider: the machines that were ended, the pools of which it has nothing any more, and the problems."""
    provider = seller.provider
    gone: dict[str, None] = {}

    def note(names: Iterable[str]) -> None:
        for name in names:
            gone[name] = None
            tell(provider.name, name)

    done: list[Account] = []
    problems: list[str] = []
    lost = [orphan.machine.id for orphan in orphans if orphan.provider == provider]
    try:
        note(await _end(seller, lost))
        for name in lost:
            tell(provider.name, name)
    except SkywardError as error:
        problems.append(f"{', '.join(lost)} of {provider.name} may still run: {error}")
    for pool in (pool for pool in pools if provider.name in pool.asked):
        try:
            note(await _end(seller, pool.machines.get(provider.name, ())))
            settle = max(pool.unclear + LATE - _clock.current().time(), 0.0)
            note(await sweep(seller, pool.pool_id, settle=settle))
            note(await _end(seller, [each.id for each in await left(seller, pool.pool_id)]))
            done.append(pool)
        except SkywardError as error:
            problems.append(f"machines of {provider.name} with the tag {pool.pool_id} may still run: {error}")
    return [(provider.name, name) for name in gone], done, problems


async def _end(seller: Seller, ids: Sequence[str]) -> list[str]:
    """End machines; the ids of those that were still there."""
    if not ids:
        return []
    known = await persistently(lambda: describe(seller, ids), on=SkywardError, attempts=4)
    await terminate(seller, ids)
    return [name for name, machine in known.items() if machine.state is not InstanceState.GONE]


def _concerns(provider: Provider, pool: Account, providers: Sequence[Provider]) -> bool:
    """Whether a pool may have machines at a provider, by these settings and not by others that are asked."""
    if provider.name not in pool.asked:
        return False
    marks, mine = pool.settings.get(provider.name, frozenset()), fingerprint(provider)
    others = {fingerprint(each) for each in providers if each.name == provider.name}
    return not mine or mine in marks or "" in marks or not marks <= others


def _is_over(pool: Account, proven: Sequence[Provider]) -> bool:
    """Whether nothing of a pool is left, given the providers that have nothing of it any more.

    Another account or region of the same provider cannot tell, unless the machines have ended themselves by now.
    """
    past = pool.deadline is not None and _clock.current().time() > pool.deadline + LATE
    for name in pool.asked:
        those = [fingerprint(provider) for provider in proven if provider.name == name]
        missing = pool.settings.get(name, frozenset()) - set(those) - {""}
        if not those or (missing and not past):
            return False
    return True
