"""Rules of ending machines, and of finding them without local state."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.model.instance import Instance
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded, living
from skyward.testing.conformance._kit import check
from skyward.testing.conformance._machines import UNKNOWN, check_deadline
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop

__all__ = ["EndingRules", "FindingRules"]


def _ids(machines: Iterable[Instance]) -> list[str]:
    return [machine.id for machine in machines]


class EndingRules(ProviderRules):
    """What is ended stays ended, and may be ended again."""

    @on_loop
    async def test_terminate_ends_a_machine(self, account: Account) -> None:
        session = await account.open()
        ids = _ids(await account.launch(session, 0))
        await account.end(session, ids)

        async def exists() -> str:
            left = (account.standing() or set()) & set(ids)
            if not left:
                return ""
            return f"{', '.join(left)} exists after terminate, though describe calls it gone; ask the vendor each time"

        await account.until(exists)

    @on_loop
    async def test_terminate_may_be_repeated(self, account: Account) -> None:
        session = await account.open()
        ids = _ids(await account.launch(session, 0))
        await session.terminate(ids)
        await session.terminate(ids)
        await account.until(lambda: session.gone(ids))
        await session.terminate(ids)

    @on_loop
    async def test_an_unknown_id_is_no_obstacle_to_terminate(self, account: Account) -> None:
        session = await account.open()
        await session.terminate([UNKNOWN])
        ids = _ids(await account.launch(session, 0))
        await account.end(session, [UNKNOWN, *ids])

    @on_loop
    async def test_several_machines_are_ended_at_once(self, account: Account) -> None:
        session = await account.open()
        await account.end(session, _ids(await account.launch(session, 0, 1)))

    @on_loop
    async def test_terminate_ends_only_what_it_names(self, account: Account) -> None:
        session = await account.open()
        ended, kept = _ids(await account.launch(session, 0, 1))
        await session.terminate([])
        await account.end(session, [ended])
        found = living((await session.describe([kept])).values())
        check(
            kept in found,
            f"terminate ended {kept} although it named only {ended}; end the ids that are given, and none for an empty "
            "list",
        )


class FindingRules(ProviderRules):
    """Machines are found by their tags, by whoever asks."""

    @on_loop
    async def test_list_owned_finds_the_machines_of_a_pool(self, account: Account) -> None:
        session = await account.open()
        ids = set(_ids(await account.launch(session, 0, 1)))
        await account.until(lambda: _missing(session, session.identity.pool_id, ids))

    @on_loop
    async def test_list_owned_without_a_pool_finds_all_of_an_owner(self, account: Account) -> None:
        one, other = await account.open(), await account.open()
        ids = set(_ids([*await account.launch(one, 0), *await account.launch(other, 0)]))
        await account.until(lambda: _missing(one, None, ids))

    @on_loop
    async def test_another_client_finds_machines_without_local_state(self, account: Account) -> None:
        session = await account.open()
        ids = set(_ids(await account.launch(session, 0)))
        stranger = await account.stranger()
        await account.until(lambda: _missing(stranger, session.identity.pool_id, ids))
        await account.until(lambda: _missing(stranger, None, ids))

    @on_loop
    async def test_another_client_ends_what_it_has_found(self, account: Account) -> None:
        session = await account.open()
        ids = _ids(await account.launch(session, 0))
        stranger = await account.stranger()
        known = living((await stranger.describe(ids)).values())
        check(
            known == set(ids),
            f"{', '.join(ids)} is not known to describe of another session; ask the vendor, not the session's own "
            "memory",
        )
        await account.end(stranger, ids)
        left = living((await session.describe(ids)).values())
        check(
            not left,
            f"{', '.join(left)} is still there after the terminate of another session; end machines by their id alone, "
            "not by the session's own memory",
        )

    @on_loop
    async def test_pools_do_not_see_each_others_machines(self, account: Account) -> None:
        one, other = await account.open(), await account.open()
        mine = set(_ids(await account.launch(one, 0)))
        theirs = set(_ids(await account.launch(other, 0)))
        for asking in (one, other):
            for pool_id, own, strange in (
                (one.identity.pool_id, mine, theirs),
                (other.identity.pool_id, theirs, mine),
            ):
                found = living(await asking.list_owned(pool_id))
                check(
                    not found & strange,
                    f"list_owned of one pool found {', '.join(found & strange)}, which is another one's; filter by the "
                    "tag of the pool that is asked for: core ends what it finds",
                )
                check(
                    not found - own,
                    f"list_owned of one pool found {', '.join(found - own)}, which it did not launch; filter by the "
                    "tag of the pool that is asked for: core ends what it finds",
                )

    @on_loop
    async def test_ended_machines_are_listed_no_more(self, account: Account) -> None:
        session = await account.open()
        ids = set(_ids(await account.launch(session, 0)))
        await account.end(session, ids)

        async def listed() -> str:
            left = living(await session.list_owned(session.identity.pool_id)) & ids
            if not left:
                return ""
            return f"list_owned still finds {', '.join(left)} after its end; leave it out or call it GONE"

        await account.until(listed)

    @on_loop
    async def test_found_machines_tell_what_they_are_tagged_with(self, account: Account) -> None:
        needs(account.provider, "tags")
        session = await account.open()
        ids = set(_ids(await account.launch(session, 0)))
        stranger = await account.stranger()
        identity = session.identity
        await account.until(lambda: _missing(stranger, identity.pool_id, ids))
        for pool_id in (identity.pool_id, None):
            for machine in await stranger.list_owned(pool_id):
                if machine.id not in ids:
                    continue
                for what in ("pool_id", "owner", "client"):
                    has, had = getattr(machine, what), getattr(identity, what)
                    check(
                        has == had,
                        f"{what} of {machine.id} is {has!r} in list_owned, and was {had!r} at its launch; tag the "
                        "machine with it, and tell it from the tag",
                    )
                check_deadline(machine, identity.deadline)


async def _missing(session: Guarded, pool_id: str | None, ids: set[str]) -> str:
    missing = ids - living(await session.list_owned(pool_id))
    if not missing:
        return ""
    asked = "list_owned()" if pool_id is None else "list_owned(pool_id)"
    return (
        f"{asked} does not find {', '.join(sorted(missing))}; tag every machine when it is created, and search by the "
        "tag: what is not found is never ended"
    )
