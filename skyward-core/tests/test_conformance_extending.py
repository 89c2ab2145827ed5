"""The rules of moving a deadline: each is broken by a provider that the kit catches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, Straight
from conformance_teeth import assert_bites, rules_of

from skyward.spi import InstanceState
from skyward.testing.conformance._extending import ExtendingRules


class Deaf(Straight):
    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        pass


class Confiding(Straight):
    """Keeps the new deadline in its own memory."""

    moved: float | None = None

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        self.moved = deadline

    def _told(self, machine: Instance) -> Instance:
        return machine if self.moved is None else evolve(machine, deadline=self.moved)

    async def describe(self, ids: Sequence[str], /) -> Any:
        return {name: self._told(machine) for name, machine in (await self.inner.describe(ids)).items()}

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [self._told(machine) for machine in await self.inner.list_owned(pool_id)]


class Prolonging(Straight):
    """Takes an earlier deadline for a mistake."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        found = await self.inner.describe(ids)
        await self.inner.extend([name for name in found if (found[name].deadline or 0.0) < deadline], deadline)


class Adding(Straight):
    """Takes the new deadline for that much more than the last one."""

    more = 0.0

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        await self.inner.extend(ids, deadline + self.more)
        self.more += 600.0


class Exact(Straight):
    """Takes what has ended, or never was, for a mistake."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        found = await self.inner.describe(ids)
        for name in ids:
            if name not in found or found[name].state is InstanceState.GONE:
                raise KeyError(name)
        await self.inner.extend(ids, deadline)


class Losing(Straight):
    """Gives up at the first id that it does not know."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        found = await self.inner.describe(ids)
        await self.inner.extend([name for name in ids if name in found] if ids[0] in found else [], deadline)


class Spreading(Straight):
    """Moves the deadline of the whole pool."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        owned = await self.inner.list_owned(self.identity.pool_id)
        await self.inner.extend([machine.id for machine in owned] if ids else [], deadline)


class Greedy(Straight):
    """Takes an empty list for no filter."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        owned = await self.inner.list_owned(self.identity.pool_id)
        await self.inner.extend(ids or [machine.id for machine in owned], deadline)


class Oblivious(Straight):
    """Launches with the identity that it was opened with."""

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        before = self.inner.identity  # type: ignore[attr-defined]
        await self.inner.extend(ids, deadline)
        self.inner.identity = before  # type: ignore[attr-defined]


EXTENDING: list[tuple[str, type[Straight], str]] = [
    (
        "test_everybody_tells_the_deadline_of_an_extended_machine",
        Deaf,
        "describe of its own session tells the deadline .* of i-0, and extend has set .*; keep it where every client",
    ),
    (
        "test_everybody_tells_the_deadline_of_an_extended_machine",
        Confiding,
        "describe of another client tells the deadline .* of i-0, and extend has set .*; keep it where every client",
    ),
    ("test_everybody_tells_the_deadline_of_an_extended_machine", Prolonging, "and extend has set .*; keep it"),
    ("test_extend_may_be_repeated", Adding, "and extend has set .*; keep it where every client finds it"),
    ("test_an_unknown_id_is_no_obstacle_to_extend", Exact, "extend raised KeyError: .*; raise Unavailable"),
    ("test_an_unknown_id_is_no_obstacle_to_extend", Losing, "and extend has set .*; keep it where every client finds"),
    (
        "test_extend_moves_the_deadline_of_those_alone_that_it_names",
        Spreading,
        "extend moved the deadline of i-1 although it named only i-0; move that of the ids",
    ),
    ("test_extend_moves_the_deadline_of_those_alone_that_it_names", Greedy, "moved the deadline of i-1 although .*;"),
    (
        "test_machines_that_come_after_an_extension_have_the_new_deadline",
        Oblivious,
        "describe of its own session tells the deadline .* of i-1, and extend has set .*; keep it where",
    ),
]


@pytest.mark.parametrize(("test", "kind", "says"), EXTENDING)
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, kind: type[Straight], says: str) -> None:
    assert_bites(case, test, Bent(case.cloud.provider, kind), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {test for test, *_ in EXTENDING} == rules_of(ExtendingRules)
