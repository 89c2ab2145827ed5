"""Rules of machines that end by themselves, and of ends that fail."""

from __future__ import annotations

from skyward.errors import ProviderError, Transient
from skyward.testing._faults import Fault
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import attempted, living
from skyward.testing.conformance._kit import check
from skyward.testing.conformance._rules import ProviderRules, on_loop, playing, served

__all__ = ["VanishingRules"]


class VanishingRules(ProviderRules):
    """What is gone is told so, and what is not can still be ended."""

    @on_loop
    async def test_a_machine_that_ended_by_itself_is_told_gone(self, account: Account) -> None:
        vendor = served(self)
        session = await account.open()
        ended, kept = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.end(ended)

        async def told() -> str:
            described = living((await session.describe([ended, kept])).values())
            check(kept in described, f"describe calls {kept} gone after the end of {ended}; tell of each its own state")
            if ended not in described:
                return ""
            return (
                f"{ended} has ended by itself, and describe takes it for alive; say GONE of what no longer runs and "
                "will not again: core replaces it then"
            )

        await account.until(told)

    @on_loop
    async def test_what_has_ended_by_itself_is_found_as_long_as_it_costs(self, account: Account) -> None:
        vendor = served(self)
        session = await account.open()
        ended, kept = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.end(ended)
        stranger = await account.stranger()

        async def found() -> str:
            listed = living(await stranger.list_owned(session.identity.pool_id))
            check(kept in listed, f"list_owned does not find {kept} after the end of {ended}; list all that exists")
            costs = ended in vendor.existing()
            if (ended in listed) == costs:
                return ""
            if costs:
                return (
                    f"{ended} has ended by itself and is still billed, and list_owned does not find it; list all that "
                    "costs, in whatever state: it is ended by that alone"
                )
            return f"{ended} has ended by itself, and list_owned takes it for alive; leave it out or call it GONE"

        await account.until(found)

    @on_loop
    async def test_what_has_ended_by_itself_can_be_terminated(self, account: Account) -> None:
        vendor = served(self)
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.end(ids[0])
        await account.end(session, ids)
        await account.until(lambda: _standing(account, "terminate, for one of them had ended by itself"))

    @on_loop
    async def test_a_terminate_that_meets_an_error_can_be_repeated(self, account: Account) -> None:
        vendor = playing(self, Fault.TERMINATE_FAILS)
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.inject(Fault.TERMINATE_FAILS, 2)
        answer = await attempted("terminate", lambda: session.raw.terminate(ids), account.patience)
        if isinstance(answer, ProviderError):
            check(
                isinstance(answer, Transient),
                f"terminate raised {type(answer).__name__}: {answer} for an error of the server; raise Transient: it "
                "is tried again then",
            )
        else:  # it has been at it until it was done, or says so
            await account.until(lambda: _standing(account, "a terminate that raised nothing, and the server failed"))
        vendor.reset()
        await account.end(session, ids)
        await account.until(lambda: _standing(account, "a second terminate, for the first one had met an error"))

    @on_loop
    async def test_what_a_failed_terminate_has_left_is_still_found(self, account: Account) -> None:
        vendor = playing(self, Fault.TERMINATE_FAILS)
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.inject(Fault.TERMINATE_FAILS, 2)
        await attempted("terminate", lambda: session.raw.terminate(ids), account.patience)
        vendor.reset()
        await account.until(lambda: account.unfound(session, "a terminate that met an error"))
        stranger = await account.stranger()
        found = living(await stranger.list_owned(session.identity.pool_id))
        await account.end(stranger, found)
        await account.until(lambda: _standing(account, "another client had ended what a failed terminate left"))


async def _standing(account: Account, after: str) -> str:
    left = account.standing() or set()
    return (
        f"{', '.join(sorted(left))} exists after {after}; end all that exists, whatever it was before" if left else ""
    )
