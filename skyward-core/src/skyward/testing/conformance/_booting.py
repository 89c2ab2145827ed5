"""Rules of machines that do not boot as they should."""

from __future__ import annotations

import asyncio

from skyward._reactor import Reactor
from skyward.errors import BootstrapError
from skyward.model.image import Image
from skyward.model.instance import InstanceState
from skyward.spi.transport import Transport
from skyward.testing._faults import Fault
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import asked, living
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._rules import ProviderRules, on_loop, playing

__all__ = ["BootRules"]

_LOOKS = 3


class BootRules(ProviderRules):
    """A machine on its way is neither running nor gone, and a stranger in its place is nobody's node."""

    @on_loop
    async def test_a_slow_boot_is_pending_until_it_runs(self, account: Account) -> None:
        vendor = playing(self, Fault.SLOW_BOOT)
        session = await account.open()
        vendor.inject(Fault.SLOW_BOOT)
        [machine] = await account.launch(session, 0)

        async def booting() -> str:
            found = (await session.describe([machine.id])).get(machine.id)
            state = "not known" if found is None else found.state
            if found is None or found.state is InstanceState.GONE:
                raise Broken(
                    f"{machine.id} is {state} to describe while it boots; say PENDING: what is gone is bought again"
                )
            if found.state is not InstanceState.RUNNING:
                return f"{machine.id} is {state} {account.patience:g} s after a slow boot; say RUNNING once it runs"
            check(found.ip, f"{machine.id} is RUNNING and has no ip; say PENDING until the vendor tells its address")
            return ""

        await account.until(booting)

    @on_loop
    async def test_a_boot_that_is_stuck_can_be_ended(self, account: Account) -> None:
        vendor = playing(self, Fault.STUCK)
        session = await account.open()
        vendor.inject(Fault.STUCK)
        [machine] = await account.launch(session, 0)
        for _ in range(_LOOKS):
            found = (await session.describe([machine.id])).get(machine.id)
            state = None if found is None else found.state
            check(
                state is InstanceState.PENDING,
                f"{machine.id} is {state or 'not known'} to describe although it never comes to run; say PENDING of "
                "what exists and has no address, and leave it to core to end it",
            )
        listed = living(await session.list_owned(session.identity.pool_id))
        check(
            machine.id in listed,
            f"list_owned does not find {machine.id} while it boots; list what exists, whatever its state",
        )
        await account.end(session, [machine.id])
        left = account.standing() or set()
        check(
            not left,
            f"{', '.join(sorted(left))} exists after terminate because it never came to run; end machines in any state",
        )

    @on_loop
    async def test_a_wrong_host_key_is_refused(self, account: Account) -> None:
        vendor = playing(self, Fault.WRONG_HOST_KEY)
        session = await account.open()
        vendor.inject(Fault.WRONG_HOST_KEY)
        [machine] = await account.running(session, await account.launch(session, 0))
        wire = Reactor("conformance-io")
        try:
            road = session.raw.transport(machine, wire)
            try:
                await _refused(road, account.patience)
            finally:
                await asked("close of the road", road.close, account.patience)
        finally:
            wire.close()


def _unheard(phase: str, state: str, seconds: float | None) -> None:
    """Take a report of the bootstrap's."""


async def _refused(road: Transport, patience: float) -> None:
    """Make a machine ready that has the wrong host key; this must be refused."""
    remedy = "give its key to SshAddress(host_key=...), so that it is refused before anything is sent to it"
    try:
        async with asyncio.timeout(patience):
            await road.bootstrap(Image(), _unheard)
    except Exception as error:
        if not isinstance(error, BootstrapError) or "host key" not in str(error):
            raise Broken(
                "the road to a machine with another host key than the one it was given was not refused for that, but "
                f"with {type(error).__name__}: {error}; {remedy}"
            ) from error
    else:
        raise Broken(f"a machine with another host key than the one it was given was made ready; {remedy}")
