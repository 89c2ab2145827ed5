"""Rules of what a provider declares: each capability is what it says, and is not there where it is not declared."""

from __future__ import annotations

import re

from attrs import evolve

from skyward.spi.provider import Forewarned
from skyward.testing._faults import SeesUserData
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded
from skyward.testing.conformance._kit import check, skip
from skyward.testing.conformance._machines import no_links
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop, served

__all__ = ["DeclaredRules"]

_LIFE = 54321.0
"""Seconds that a machine lives, in a number that stands in its script for nothing else."""
_LATE = 300.0
"""Seconds that may pass between the order and the script."""


class DeclaredRules(ProviderRules):
    """Ports, notices, tags and the machines' own ends are as declared."""

    @on_loop
    async def test_the_port_of_a_running_machine_is_told_as_declared(self, account: Account) -> None:
        session = await account.open()
        [machine] = await account.running(session, await account.launch(session, 0))
        port = machine.details.get("port")
        if account.provider.capabilities.ports:
            check(
                type(port) is int and 0 < port < 65536,
                f"details['port'] of {machine.id} is {port!r} though it is RUNNING; say PENDING until its port is "
                "known and tell it then, or declare Capabilities(ports=False)",
            )
        else:
            check(
                port in (None, 22),
                f"details['port'] of {machine.id} is {port!r}, and Capabilities(ports=False) is declared; declare "
                "ports=True",
            )

    @on_loop
    async def test_a_notice_of_preemption_has_a_lookout_as_declared(self, account: Account) -> None:
        needs(account.provider, "spot")
        declared = account.provider.capabilities.preemption_notice
        session = await account.open()
        spot = [offer for offer in await account.offers(session) if offer.market == "spot"]
        if not spot:
            skip("no spot machine is offered")
        order = evolve(await account.order(session, 0), offer=spot[0])
        [machine] = await account.running(session, await session.launch(order))
        with no_links() as wire:
            road = session.raw.transport(machine, wire)
            program = session.raw.lookout(machine) if isinstance(session.raw, Forewarned) else None
            await road.close()
        check(
            bool(program) or not declared,
            f"the spot machine {machine.id} has no lookout, and Capabilities(preemption_notice=True) is declared; "
            "return its program from lookout(instance), or declare preemption_notice=False",
        )
        check(
            declared or not program,
            f"the spot machine {machine.id} has a lookout, and Capabilities(preemption_notice=False) is declared; "
            "declare preemption_notice=True, or return None",
        )

    @on_loop
    async def test_the_first_boot_tells_a_machine_its_end(self, account: Account) -> None:
        needs(account.provider, "user_data")
        needs(account.provider, "self_termination")
        vendor = served(self)
        if not isinstance(vendor, SeesUserData):
            skip("the server of vendor() has no user_data()")
        identity = account.identity(life=_LIFE)
        [machine] = await account.launch(await account.open(identity), 0)
        moments = [_LIFE, identity.deadline or 0.0]
        numbers = [float(digits) for digits in re.findall(r"\d+", vendor.user_data(machine.id)) if len(digits) < 16]
        check(
            any(moment - _LATE <= number <= moment + 1 for number in numbers for moment in moments),
            f"what {machine.id} is given for its first boot does not tell its deadline; hand it "
            "spi.first_boot_script(lifetime=...), or declare Capabilities(self_termination=False)",
        )

    @on_loop
    async def test_an_owner_with_unusual_characters_is_told_as_it_is(self, account: Account) -> None:
        needs(account.provider, "tags")
        identity = evolve(account.identity(), owner="O'Neil <ada+caf\u00e9@host.example>")
        session = await account.open(identity)
        ids = {machine.id for machine in await account.launch(session, 0)}
        stranger = await account.stranger()
        await account.until(lambda: _owned(stranger, identity.pool_id, ids, identity.owner))


async def _owned(stranger: Guarded, pool_id: str, ids: set[str], owner: str) -> str:
    told = {machine.id: machine.owner for machine in await stranger.list_owned(pool_id)}
    for name in ids:
        if told.get(name) != owner:
            return (
                f"owner of {name} is {told.get(name)!r} in list_owned, and was {owner!r} at its launch; encode what "
                "the vendor's tags cannot hold as it is"
            )
    return ""
