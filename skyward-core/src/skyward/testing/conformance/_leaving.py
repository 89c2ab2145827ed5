"""Rules of what pools have beside machines."""

from __future__ import annotations

from collections.abc import Collection

from skyward.errors import ProviderError
from skyward.spi.provider import Belongings
from skyward.testing._faults import Fault
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded
from skyward.testing.conformance._kit import Broken, check, skip
from skyward.testing.conformance._rules import ProviderRules, on_loop, playing, served

__all__ = ["LeavingRules"]


class LeavingRules(ProviderRules):
    """Keys, scripts, volumes and the like go with the pool's last machine, whoever ends it."""

    @on_loop
    async def test_belongings_go_with_the_last_machine(self, account: Account) -> None:
        served(self)
        session = await account.open()
        first, last = [machine.id for machine in await account.launch(session, 0, 1)]
        await account.end(session, [first])
        await account.end(session, [last])
        await session.close()
        await account.until(lambda: _left(account, "the end of the last machine and close"))

    @on_loop
    async def test_a_session_that_bought_nothing_leaves_nothing(self, account: Account) -> None:
        served(self)
        session = await account.open()
        await account.offers(session)
        await session.close()
        await account.until(lambda: _left(account, "the close of a session that has bought nothing"))

    @on_loop
    async def test_a_launch_that_failed_leaves_nothing(self, account: Account) -> None:
        vendor = playing(self, Fault.NO_CAPACITY)
        session = await account.open()
        request = await account.order(session, 0)
        vendor.inject(Fault.NO_CAPACITY, 100)
        answer = await session.attempt(request)
        vendor.reset()
        check(
            isinstance(answer, ProviderError),
            f"launch returned {answer!r} when nothing was to be had; raise Unavailable: no machine is no answer",
        )
        await session.close()
        await account.until(lambda: _left(account, "a launch that failed and close"))

    @on_loop
    async def test_an_orphan_and_its_belongings_are_ended_without_local_state(self, account: Account) -> None:
        served(self)
        session = await account.open()
        pool_id = session.identity.pool_id
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        stranger = await account.stranger()  # the first client was killed: nothing but the vendor knows of its pool

        async def found() -> str:
            orphans = {machine.id for machine in await stranger.list_owned(None) if machine.pool_id == pool_id}
            lost = set(ids) - orphans
            return f"list_owned() does not find {', '.join(sorted(lost))}; tag every machine" if lost else ""

        await account.until(found)
        await account.end(stranger, ids)
        await account.until(lambda: _cleared(account, stranger, pool_id, ids))

    @on_loop
    async def test_what_a_living_pool_has_is_not_taken_for_left_over(self, account: Account) -> None:
        session = await account.open()
        if not isinstance(session.raw, Belongings):
            skip("sessions have no list_left()")
        await account.launch(session, 0)
        stranger = await account.stranger()
        for asking in (session, stranger):
            for pool_id in (session.identity.pool_id, None):
                left = [each.id for each in await asking.list_left(pool_id) if each.pool_id == session.identity.pool_id]
                check(
                    not left,
                    f"list_left tells of {', '.join(left)} while the pool has a machine; leave out what belongs to "
                    "pools whose machines are there: whoever asks removes what it is told",
                )


async def _left(account: Account, after: str) -> str:
    left = account.belongings()
    return f"{', '.join(sorted(left))} exists after {after}; remove what the pool had, too" if left else ""


async def _cleared(account: Account, stranger: Guarded, pool_id: str, machines: Collection[str]) -> str:
    """Remove by another client what the pool has left. What exists then, in words."""
    told = [each for each in await stranger.list_left(pool_id) if each.pool_id == pool_id]
    if strange := {each.id for each in told} & set(machines):
        raise Broken(f"list_left tells of {', '.join(strange)}, which is a machine; list_owned is for those")
    listed = {each.id for each in await stranger.list_left(None) if each.pool_id == pool_id}
    if told and account.belongings() and not listed:
        raise Broken(
            f"list_left() does not tell of {', '.join(each.id for each in told)}, and list_left(pool_id) does; without "
            "a pool it is asked for those of all pools"
        )
    await stranger.terminate([each.id for each in told])
    left = account.belongings()
    if not left:
        return ""
    return (
        f"{', '.join(sorted(left))} is left of a pool whose client was killed, after its machines were ended by "
        "another one; remove it with the last machine, or tell of it in list_left"
    )
