"""Mistakes in telling of machines and in ending them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve
from planted import Mistake, caught
from skyward_acme.session import Machine, Page

from skyward.spi import Instance, InstanceState, MachineLabel


@caught("list_owned_finds_the_machines_of_a_pool", r"list_owned\(pool_id\) does not find m-\d+; tag every machine")
class FirstPage(Mistake):
    """A list is a list."""

    async def _all(self) -> list[Machine]:
        return (await self.rest.ask("GET", "/v1/machines", into=Page)).machines


@caught("pools_do_not_see_each_others_machines", "list_owned of one pool found m-0, which it did not launch; filter by")
class Adopting(Mistake):
    """What bears no label was started by hand, for this pool."""

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        strange = [each for each in await self._all() if MachineLabel.read(each.label) is None]
        own = [each.instance(MachineLabel.of(self.identity, 0)) for each in strange]
        return [*await super().list_owned(pool_id), *(evolve(each, pool_id=pool_id or "") for each in own)]


@caught("another_client_finds_machines_without_local_state", r"list_owned\(\) does not find m-\d+; tag every machine")
class Narrow(Mistake):
    """A session has one pool."""

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        return await super().list_owned(pool_id or self.identity.pool_id)


@caught("a_machine_that_ended_by_itself_is_told_gone", r"m-\d+ has ended by itself, and describe takes it for alive")
class Trusting(Mistake):
    """Any state but the first is a machine that runs."""

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        found = await super().describe(ids)
        gone = InstanceState.GONE
        return {
            name: evolve(each, state=InstanceState.RUNNING) if each.state is gone else each
            for name, each in found.items()
        }


@caught("a_slow_boot_is_pending_until_it_runs", r"m-\d+ is not known to describe while it boots; say PENDING")
class Strict(Mistake):
    """What does not run is no machine."""

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        found = await super().describe(ids)
        return {name: each for name, each in found.items() if each.state is InstanceState.RUNNING}


@caught("a_boot_that_is_stuck_can_be_ended", r"m-\d+ is running to describe although it never comes to run")
class Addressed(Mistake):
    """What has an address is up."""

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        found = await super().describe(ids)
        pending = InstanceState.PENDING
        return {
            name: evolve(each, state=InstanceState.RUNNING) if each.ip and each.state is pending else each
            for name, each in found.items()
        }


@caught("an_id_of_any_form_names_one_machine_at_most", r"terminate ended m-\d+ although it named only")
class Raw(Mistake):
    """An id needs no quoting."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        for name in ids:
            await self.rest.ask("DELETE", f"/v1/machines/{name.partition('?')[0]}", absent=None)


@caught("terminate_may_be_repeated", "terminate raised|still there|Unavailable")
class Once(Mistake):
    """A machine that is not there cannot be ended."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        known = {each.id for each in await self._all()}
        if lost := set(ids) - known:
            raise KeyError(*sorted(lost))
        await super().terminate(ids)


@caught("an_unknown_id_is_no_obstacle_to_terminate", r"m-\d+ still there after terminate; end machines for good")
class Halting(Mistake):
    """What Acme does not know was ended before, and the rest with it."""

    async def terminate(self, ids: Sequence[str], /) -> None:
        known = {each.id for each in await self._all()}
        if known.issuperset(ids):
            await super().terminate(ids)


@caught("everybody_tells_the_deadline_of_an_extended_machine", "describe of another client tells the deadline")
class Forgetful(Mistake):
    """The session knows the new deadline, and who else would ask?"""

    lag = 3600.0

    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002
        self.known.move(id, label.deadline or 0.0)
