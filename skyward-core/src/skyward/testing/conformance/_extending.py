"""Rules of moving the deadline of machines."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence

from skyward.model.instance import Instance
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded
from skyward.testing.conformance._kit import check
from skyward.testing.conformance._machines import UNKNOWN
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop

__all__ = ["ExtendingRules"]

_LATER, _LATER_STILL, _EARLIER = 7200.0, 10800.0, 1800.0
"""Seconds from now; a pool of the tests has an hour."""


class ExtendingRules(ProviderRules):
    """A deadline that is moved is told by everybody, so that nobody takes the machine for left over."""

    @on_loop
    async def test_everybody_tells_the_deadline_of_an_extended_machine(self, account: Account) -> None:
        needs(account.provider, "tags")
        session = await account.open()
        ids = _ids(await account.launch(session, 0))
        stranger = await account.stranger()
        for seconds in (_LATER, _EARLIER):
            deadline = self.now() + seconds
            await session.extend(ids, deadline)
            await _agreed(account, (session, stranger), ids, deadline)

    @on_loop
    async def test_extend_may_be_repeated(self, account: Account) -> None:
        session = await account.open()
        ids = _ids(await account.launch(session, 0))
        for seconds in (_LATER, _LATER_STILL):
            deadline = self.now() + seconds
            await session.extend(ids, deadline)
            await session.extend(ids, deadline)
            await _agreed(account, [session], ids, deadline)

    @on_loop
    async def test_an_unknown_id_is_no_obstacle_to_extend(self, account: Account) -> None:
        session = await account.open()
        deadline = self.now() + _LATER
        await session.extend([UNKNOWN], deadline)
        ids = _ids(await account.launch(session, 0, 1))
        await account.end(session, ids[:1])
        deadline += 60.0
        await session.extend([UNKNOWN, *ids], deadline)
        await _agreed(account, [session], ids[1:], deadline)

    @on_loop
    async def test_extend_moves_the_deadline_of_those_alone_that_it_names(self, account: Account) -> None:
        session = await account.open()
        moved, kept = _ids(await account.launch(session, 0, 1))
        before = session.identity.deadline
        assert before is not None
        await session.extend([], self.now() + _LATER)
        await session.extend([moved], self.now() + _LATER)
        found = (await session.describe([kept])).get(kept)
        check(
            found is not None and _equal(found.deadline, before),
            f"extend moved the deadline of {kept} although it named only {moved}; move that of the ids that are given",
        )

    @on_loop
    async def test_machines_that_come_after_an_extension_have_the_new_deadline(self, account: Account) -> None:
        needs(account.provider, "tags")
        session = await account.open()
        first = _ids(await account.launch(session, 0))
        deadline = self.now() + _LATER
        await session.extend(first, deadline)
        later = _ids(await account.launch(session, 1))
        stranger = await account.stranger()
        await _agreed(account, (session, stranger), later, deadline)


async def _agreed(account: Account, sessions: Sequence[Guarded], ids: Collection[str], deadline: float) -> None:
    """Wait until each of the sessions, of which the first is the machines' own, tells this deadline."""
    for session in sessions:
        await account.until(functools.partial(_differs, session, sessions[0].identity.pool_id, ids, deadline))


async def _differs(session: Guarded, pool_id: str, ids: Collection[str], deadline: float) -> str:
    """Who tells another deadline, in words; nothing when it is told as it was set."""
    whose = "its own session" if session.identity.pool_id == pool_id else "another client"
    answers = {
        "describe": (await session.describe(ids)).values(),
        "list_owned(pool_id)": await session.list_owned(pool_id),
        "list_owned()": await session.list_owned(None),
    }
    for what, machines in answers.items():
        found = {machine.id: machine.deadline for machine in machines}
        for name in ids:
            if not _equal(found.get(name), deadline):
                return (
                    f"{what} of {whose} tells the deadline {found.get(name)!r} of {name}, and extend has set "
                    f"{deadline!r}; keep it where every client finds it, such as in the machine's tag"
                )
    return ""


def _equal(told: float | None, deadline: float) -> bool:
    """A tag may have rounded it to seconds."""
    return told is not None and abs(told - deadline) <= 1


def _ids(machines: Iterable[Instance]) -> list[str]:
    return [machine.id for machine in machines]
