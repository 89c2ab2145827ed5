"""What pools have beside machines is found and removed with them, once their client is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, field, frozen
from road_fakes import virtually

from skyward import Unavailable, _reap
from skyward._client import this_client
from skyward._ledger import Ledger
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import Belongings, Capabilities, PoolIdentity

DEAD = f"{this_client().partition('-')[0]}-1-0"

pytestmark = pytest.mark.usefixtures("own_ledgers")


@define(eq=False)
class Vendor:
    """What a vendor has, by id: machines, and things beside them."""

    things: dict[str, Instance] = field(factory=dict)
    refusals: list[Exception] = field(factory=list)

    def give(self, name: str, pool_id: str, client: str = DEAD) -> None:
        self.things[name] = Instance(
            id=name, state=InstanceState.RUNNING, pool_id=pool_id, owner="ada@lab", client=client
        )


class Session:
    """The part of a session that whoever cleans up has need of."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    def listed(self, pool_id: str | None, *, machines: bool) -> list[Instance]:
        named = [each for each in self.vendor.things.values() if each.id.startswith("i-") == machines]
        return [each for each in named if pool_id in (None, each.pool_id)]

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        return self.listed(pool_id, machines=True)

    async def list_left(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        if self.vendor.refusals:
            raise self.vendor.refusals.pop()
        standing = {each.pool_id for each in self.listed(None, machines=True)}
        return [each for each in self.listed(pool_id, machines=False) if each.pool_id not in standing]

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        return {name: self.vendor.things[name] for name in ids if name in self.vendor.things}

    async def terminate(self, ids: Sequence[str], /) -> None:
        for name in ids:
            self.vendor.things.pop(name, None)

    async def close(self) -> None:
        pass


@frozen
class Provider:
    vendor: Vendor = field(eq=False)
    name: ClassVar[str] = "Vendor"
    capabilities: ClassVar[Capabilities] = Capabilities()

    async def open(self, identity: PoolIdentity, /) -> Any:
        del identity
        return Session(self.vendor)


def left_ledger(pool_id: str) -> Path:
    """The ledger of a dead client's pool, whose only order was answered."""
    ledger = Ledger(pool_id)
    ledger.record("opened", owner="ada@lab", providers=["Vendor"], settings=[""], deadline=None)
    ledger.record("launching", provider="Vendor", nodes=[0])
    ledger.record("launched", provider="Vendor", ids=["i-0"])
    ledger.record("answered", provider="Vendor", nodes=[0])
    ledger.close(clean=False)
    return ledger.path


def test_it_is_an_optional_part_of_a_session() -> None:
    session: Belongings = Session(Vendor())
    assert isinstance(session, Belongings)


def test_what_dead_clients_have_left_is_listed_and_removed_and_what_living_ones_have_stays() -> None:
    vendor = Vendor()
    vendor.give("key-dead", "dead")
    vendor.give("key-living", "living", this_client())
    vendor.give("i-1", "standing", this_client())
    vendor.give("key-standing", "standing")

    async def main() -> None:
        found = await _reap.find([Provider(vendor)])
        assert [(each.machine.id, each.why) for each in found.orphans] == [("key-dead", "its client has died")]
        assert len(vendor.things) == 4, "finding removes nothing"
        removed = await _reap.remove(found)
        assert removed == _reap.Removed((("Vendor", "key-dead"),))
        assert set(vendor.things) == {"key-living", "i-1", "key-standing"}

    asyncio.run(main())


def test_of_a_pool_that_its_ledger_names_it_is_removed_whatever_its_tags_say_of_its_client() -> None:
    vendor = Vendor()
    vendor.give("key-1", "pool", "elsewhere-1-2")
    vendor.give("key-2", "other", "elsewhere-1-2")
    ledger = left_ledger("pool")

    async def main() -> None:
        removed = await _reap.remove(await _reap.find([Provider(vendor)]))
        assert removed == _reap.Removed((("Vendor", "key-1"),), ("pool",))
        assert set(vendor.things) == {"key-2"}

    asyncio.run(main())
    assert not ledger.exists()


@virtually
async def test_a_provider_that_cannot_tell_what_is_left_keeps_the_ledger() -> None:
    vendor = Vendor(refusals=[Unavailable("no look today")] * 99)
    ledger = left_ledger("pool")
    found = await _reap.find([Provider(vendor)])
    assert "no look today" in found.problems[0]
    removed = await _reap.remove(found)
    assert "no look today" in removed.problems[0]
    assert ledger.exists()
