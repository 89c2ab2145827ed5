"""Rules of launching machines and of telling their state."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Iterable

from skyward._reactor import Reactor, SocketLink
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import Forewarned
from skyward.spi.transport import Receiver, Wire
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded, asked, living
from skyward.testing.conformance._kit import Broken, check, skip
from skyward.testing.conformance._plain import is_plain
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop

__all__ = ["UNKNOWN", "MachineRules", "check_deadline", "no_links"]

UNKNOWN = "conformance-no-such-machine"


class MachineRules(ProviderRules):
    """Machines are those that were ordered, and say who they are."""

    @on_loop
    async def test_launch_gives_each_node_one_machine(self, account: Account) -> None:
        machines = await account.launch(await account.open(), 3, 7)
        nodes = sorted(machine.node for machine in machines)
        check(
            nodes == [3, 7],
            f"launch returned machines for the nodes {nodes} when asked for 3 and 7; give each machine one index of "
            "request.nodes, and use none twice",
        )
        ids = [machine.id for machine in machines]
        check(
            len(set(ids)) == len(ids) and all(ids),
            f"launch returned machines with the ids {ids}; give each the vendor's identifier, which no other machine "
            "has",
        )

    @on_loop
    async def test_launched_machines_bear_the_pool_and_the_deadline(self, account: Account) -> None:
        session = await account.open()
        for machine in await account.launch(session, 0):
            check(
                machine.pool_id == session.identity.pool_id,
                f"pool_id of {machine.id} is {machine.pool_id!r}; give it that of the identity, as its tag has it",
            )
            check_deadline(machine, session.identity.deadline)

    @on_loop
    async def test_launched_machines_are_not_gone_and_have_plain_details(self, account: Account) -> None:
        for machine in await account.launch(await account.open(), 0):
            check(
                machine.state in (InstanceState.PENDING, InstanceState.RUNNING),
                f"launch returned {machine.id} as {machine.state!r}; return what is PENDING or RUNNING, and nothing "
                "else",
            )
            check(
                is_plain(machine.details),
                f"details of {machine.id} are {machine.details!r}; keep strings, numbers, lists and dicts in them",
            )

    @on_loop
    async def test_an_id_is_never_used_twice(self, account: Account) -> None:
        session = await account.open()
        first = await account.launch(session, 0)
        second = await account.launch(session, 1)
        await account.end(session, [machine.id for machine in first])
        third = await account.launch(session, 0)
        ids = [machine.id for machine in [*first, *second, *third]]
        check(
            len(set(ids)) == len(ids),
            f"three launches gave the ids {ids}; give each machine an id that no other one of the pool has or had",
        )

    @on_loop
    async def test_describe_knows_what_was_launched_and_nothing_else(self, account: Account) -> None:
        session = await account.open()
        ids = _ids(await account.launch(session, 0, 1))
        found = await session.describe([*ids, UNKNOWN])
        check(
            living(found.values()) == set(ids) and set(found) <= {*ids, UNKNOWN},
            f"describe found {sorted(found)} when asked for {sorted(ids)} and an unknown id; return every machine that "
            "exists under its id, and leave out or call GONE what does not",
        )

    @on_loop
    async def test_describing_nothing_gives_nothing(self, account: Account) -> None:
        session = await account.open()
        await account.launch(session, 0)
        found = await session.describe([])
        check(not found, f"describe found {sorted(found)} when asked for no id; look only for the ids that are given")

    @on_loop
    async def test_machines_stay_what_they_were_launched_as(self, account: Account) -> None:
        session = await account.open()
        launched = {machine.id: machine for machine in await account.launch(session, 0, 1)}
        for name, machine in (await session.describe(list(launched))).items():
            before = launched[name]
            has, had = ((each.id, each.pool_id, each.node) for each in (machine, before))
            check(
                has == had,
                f"{name} was launched as (id, pool_id, node) = {had}, and describe says {has}; tell the same of a "
                "machine each time",
            )
            check_deadline(machine, session.identity.deadline)

    @on_loop
    async def test_machines_come_to_run_and_have_an_address(self, account: Account) -> None:
        session = await account.open()
        for machine in await account.running(session, await account.launch(session, 0)):
            check(
                machine.ip,
                f"{machine.id} is RUNNING and has no ip; say PENDING until the vendor tells its address",
            )

    @on_loop
    async def test_running_machines_have_an_address_for_their_neighbours(self, account: Account) -> None:
        needs(account.provider, "private_network")
        session = await account.open()
        for machine in await account.running(session, await account.launch(session, 0)):
            check(
                machine.private_ip,
                f"{machine.id} is RUNNING and has no private_ip; give it, or declare "
                "Capabilities(private_network=False)",
            )

    @on_loop
    async def test_a_running_machine_has_a_road(self, account: Account) -> None:
        session = await account.open()
        [machine] = await account.running(session, await account.launch(session, 0))
        with no_links() as wire:
            await self._look_at_road(account, session, machine, wire)
            self._look_at_lookout(session, machine)

    async def _look_at_road(self, account: Account, session: Guarded, machine: Instance, wire: Wire) -> None:
        try:
            road = session.raw.transport(machine, wire)
        except Exception as error:
            raise Broken(
                f"transport raised {type(error).__name__}: {error} for a running machine; connect in open of the road, "
                "not before"
            ) from error
        lacks = [name for name in ("bootstrap", "open", "close") if not callable(getattr(road, name, None))]
        check(not lacks, f"the road of transport has no {' and no '.join(lacks)}; return an object with these methods")
        await asked("close of the road", road.close, account.patience)
        check(
            machine.id in living((await session.describe([machine.id])).values()),
            f"{machine.id} is gone after its road was closed; leave machines to terminate",
        )

    def _look_at_lookout(self, session: Guarded, machine: Instance) -> None:
        if not isinstance(session.raw, Forewarned):
            return
        try:
            program = session.raw.lookout(machine)
            if program is not None:
                compile(program, "lookout", "exec")
        except Exception as error:
            raise Broken(
                f"lookout gave no program for {machine.id}: {type(error).__name__}: {error}; return Python source, or "
                "None"
            ) from error

    @on_loop
    async def test_a_machine_ends_itself_at_its_deadline(self, account: Account) -> None:
        needs(account.provider, "self_termination")
        if (life := self.short_life) is None:
            skip("short_life is not set")
        session = await account.open(account.identity(life=life, lease=None))
        ids = _ids(await account.launch(session, 0))

        async def alive() -> str:
            left = await session.gone(ids)
            return left and (
                f"{ids[0]} outlives its deadline of {life:g} s; set the deadline of the identity on the machine "
                "itself, at first boot"
            )

        await account.until(alive, account.patience + life)

    @on_loop
    async def test_a_machine_ends_itself_when_its_lease_runs_out(self, account: Account) -> None:
        needs(account.provider, "self_termination")
        if (lease := self.short_lease) is None:
            skip("short_lease is not set")
        session = await account.open(account.identity(life=3600.0 + lease, lease=lease))
        ids = _ids(await account.launch(session, 0))

        async def alive() -> str:
            left = await session.gone(ids)
            return left and (
                f"{ids[0]} outlives its lease of {lease:g} s, and nobody renewed it; hand the lease of the identity to "
                "the machine, at first boot"
            )

        await account.until(alive, account.patience + lease)


class _NoLinks(Reactor):
    """A pool's thread for input and output, before a link is opened."""

    def add(self, connection: socket.socket, receiver: Receiver) -> SocketLink:
        """Refuse: nothing is connected here."""
        del connection, receiver
        raise ConnectionError("no link is opened here")


@contextlib.contextmanager
def no_links() -> Generator[Wire]:
    """A wire to give to a road that nothing is opened on."""
    wire = _NoLinks("conformance-io")
    try:
        yield wire
    finally:
        wire.close()


def _ids(machines: Iterable[Instance]) -> list[str]:
    return [machine.id for machine in machines]


def check_deadline(machine: Instance, deadline: float | None) -> None:
    """Check that a machine tells its pool's deadline; a tag may have rounded it to seconds."""
    right = machine.deadline == deadline or (
        machine.deadline is not None and deadline is not None and abs(machine.deadline - deadline) <= 1
    )
    check(
        right,
        f"deadline of {machine.id} is {machine.deadline!r}, and that of the pool {deadline!r}; tag the machine with "
        "the identity's deadline, and tell it from the tag",
    )
