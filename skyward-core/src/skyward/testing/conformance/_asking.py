"""Rules of questions that are unusual in form or number."""

from __future__ import annotations

import asyncio

from skyward.model.instance import InstanceState
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import living
from skyward.testing.conformance._kit import check
from skyward.testing.conformance._machines import UNKNOWN
from skyward.testing.conformance._rules import ProviderRules, on_loop

__all__ = ["AskingRules"]

_MANY = 150
"""Ids in one question: more than a page of any vendor's answers, and than fit into an address."""


class AskingRules(ProviderRules):
    """A session answers whatever it is asked, also at the same time, and leaves nothing running behind."""

    @on_loop
    async def test_an_id_of_any_form_names_one_machine_at_most(self, account: Account) -> None:
        session = await account.open()
        [machine] = await account.launch(session, 0)
        strange = ["", "*", "conformance no such machine", f"{machine.id}?force=1", f"../{machine.id}"]
        answer = await session.describe([*strange, machine.id])
        known = sorted(name for name, each in answer.items() if each.state is not InstanceState.GONE)
        check(
            known == [machine.id],
            f"describe found {known} when asked for {machine.id} and for what is no id; return under its id what has "
            "exactly that id",
        )
        await session.terminate(strange)
        found = living((await session.describe([machine.id])).values())
        check(
            found == {machine.id},
            f"terminate ended {machine.id} although it named only {strange}; end what has exactly that id, and quote "
            "ids in addresses",
        )

    @on_loop
    async def test_a_machine_is_found_among_many_ids(self, account: Account) -> None:
        session = await account.open()
        [machine] = await account.launch(session, 0)
        found = living((await session.describe([*(f"{UNKNOWN}-{n}" for n in range(_MANY)), machine.id])).values())
        check(
            found == {machine.id},
            f"describe found {sorted(found)} when asked for {machine.id} and {_MANY} unknown ids; ask in portions, and "
            "read every page of the answer",
        )

    @on_loop
    async def test_questions_may_be_asked_side_by_side(self, account: Account) -> None:
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        pool_id = session.identity.pool_id
        both, owned, offers, one = await asyncio.gather(
            session.describe(ids), session.list_owned(pool_id), session.offers(account.spec), session.describe(ids[:1])
        )
        right = living(both.values()) == set(ids) and living(one.values()) == {ids[0]}
        check(
            right and living(owned) >= set(ids) and offers,
            f"describe found {sorted(both)} and {sorted(one)}, list_owned {sorted(living(owned))} and offers "
            f"{len(offers)} when asked at the same time about {ids} and {ids[:1]}; keep nothing of a call in the "
            "session",
        )

    @on_loop
    async def test_closing_leaves_no_task_behind(self, account: Account) -> None:
        before = asyncio.all_tasks()
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0)]
        await session.describe(ids)
        await account.end(session, ids)
        await session.close()

        async def running() -> str:
            left = [task.get_name() for task in asyncio.all_tasks() - before if not task.done()]
            if not left:
                return ""
            return f"{len(left)} task(s) of the session run on after close ({', '.join(sorted(left))}); end them there"

        await account.until(running)
