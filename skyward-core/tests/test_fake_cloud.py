"""What a fake cloud sells, whom it knows its machines by, and how their time runs out: as its documentation has it."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from attrs import evolve
from cloud_fakes import NO_WIRE, SPEC, buy, buy_one, identity, session_of, simulated

import skyward as sky
from skyward.errors import ConfigurationError, NodeLost, Unavailable, UsageError
from skyward.model.instance import Instance, InstanceState
from skyward.spi import Capabilities, Provider
from skyward.testing import FakeCloud, FakeProvider, VirtualClock, on_demand, spot
from skyward.testing._loop import VirtualLoop, run, virtually
from skyward.testing._session import FakeSession

# the provider


def test_the_provider_is_a_value_that_pickles_and_finds_its_cloud_again() -> None:
    cloud = simulated(name="Acme", capabilities=Capabilities(volumes=True))
    found: FakeProvider = pickle.loads(pickle.dumps(cloud.provider))
    assert found == cloud.provider
    assert hash(found) == hash(cloud.provider)
    assert (found.name, found.capabilities.volumes) == ("Acme", True)
    assert found != simulated(name="Acme").provider
    assert isinstance(found, Provider)

    async def opened() -> None:
        await session_of_provider(found)

    run(opened(), VirtualLoop(cloud.clock))
    assert cloud.open_sessions == 1


async def session_of_provider(provider: FakeProvider) -> FakeSession:
    return await provider.open(identity(VirtualClock()))


def test_a_provider_whose_cloud_is_gone_says_so() -> None:
    data = pickle.dumps(simulated().provider)
    with pytest.raises(UsageError, match="not in this process, or nobody holds on to it"):
        run(session_of_provider(pickle.loads(data)))


def test_a_cloud_and_a_loop_with_clocks_of_their_own_are_refused() -> None:
    cloud = simulated()
    with pytest.raises(UsageError, match=r"clock=cloud\.clock"):
        run(session_of_provider(cloud.provider))


def test_a_kind_of_nodes_that_does_not_exist_is_refused() -> None:
    nodes: Any = "virtual"
    with pytest.raises(ConfigurationError, match="give 'local' or 'simulated'"):
        FakeCloud(nodes=nodes)


@virtually
async def test_sessions_are_counted_until_they_are_closed() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    await session_of(cloud)
    await session.close()
    await session.close()
    assert (cloud.open_sessions, len(cloud.sessions)) == (1, 2)


# what it sells


@virtually
async def test_offers_are_those_that_fit_under_the_clouds_name_with_the_capacity_that_is_left() -> None:
    cloud = simulated(
        name="Acme", offers=[spot(capacity=3, vcpu=8), on_demand(vcpu=2), spot(kind="gpu", accelerator="A100:2")]
    )
    session = await session_of(cloud)
    await buy(session, 0, 1)
    eight = await session.offers(evolve(SPEC, cpu=4))
    assert [(offer.provider, offer.instance_type, offer.capacity) for offer in eight] == [
        ("Acme", "small", 1),
        ("Acme", "gpu", None),
    ]
    (gpu,) = await session.offers(evolve(SPEC, accelerator=sky.accelerators.A100()))
    assert gpu.accelerator == sky.accelerators.A100(count=2)


@virtually
async def test_no_more_machines_are_sold_than_there_are_over_all_launches_and_pools() -> None:
    cloud = simulated(offers=[spot(capacity=3), on_demand()])
    first, second = await session_of(cloud, "first"), await session_of(cloud, "second")
    (kept,) = await buy(first, 0)
    assert [instance.node for instance in await buy(second, 0, 1, 2)] == [0, 1], "fewer than asked for"
    with pytest.raises(Unavailable, match=r"Fake has no small \(spot\) in here-1 left"):
        await buy(first, 1)
    assert len(await buy(first, 1, offer=on_demand())) == 1, "another offer is another matter"
    await first.terminate([kept.id])
    assert len(await buy(first, 2)) == 1, "what has ended makes room"


@virtually
async def test_what_is_not_sold_any_more_cannot_be_bought() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    (spot_offer, _) = await session.offers(SPEC)
    cloud.sell(on_demand())
    with pytest.raises(Unavailable, match=r"does not sell small \(spot\) in here-1 any more"):
        await buy(session, offer=spot_offer)
    cloud.sell(spot(price=9.0))
    (instance,) = await buy(session, offer=spot_offer)
    assert instance.offer == spot_offer, "at the price at which it was offered"


# tags


@virtually
async def test_every_machine_bears_its_pool_its_owner_and_its_deadline() -> None:
    cloud = simulated()
    session = await session_of(cloud, lease=30, client="one")
    instance = (await buy(session, 5))[0]
    (machine,) = cloud.machines
    deadline = cloud.clock.time() + 3600
    assert (machine.pool_id, machine.owner, machine.node, machine.lease) == ("pool", "me@here", 5, 30)
    assert (instance.pool_id, instance.owner, instance.client, instance.node) == ("pool", "me@here", "one", 5)
    assert instance.deadline == machine.deadline == deadline
    (listed,) = await session.list_owned("pool")
    assert evolve(listed, offer=instance.offer) == instance
    assert listed.offer is None, "no tag says what it was bought as"


@virtually
async def test_machines_are_listed_by_pool_or_all_of_one_owner() -> None:
    cloud = simulated()
    mine, also_mine = await session_of(cloud, "mine"), await session_of(cloud, "also mine")
    foreign = await session_of(cloud, "foreign", owner="you@there")
    for session in (mine, also_mine, foreign):
        await buy(session)

    async def pools(pool_id: str | None) -> list[str]:
        return [each.pool_id for each in await mine.list_owned(pool_id)]

    assert await pools("mine") == ["mine"]
    assert await pools(None) == ["mine", "also mine"]
    await mine.terminate(["i-0"])
    assert await pools(None) == ["also mine"]


@virtually
async def test_ids_that_nobody_knows_are_left_out_and_are_ended_with_success() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    await buy(session)
    assert list(await session.describe(["i-7", "i-0"])) == ["i-0"]
    await session.terminate(["i-7", "i-0"])
    await session.terminate(["i-0"])
    assert (await session.describe(["i-0"]))["i-0"].state is InstanceState.GONE
    assert len(cloud.called("terminate")) == 2
    with pytest.raises(NodeLost, match="it was never bought there"):
        session.transport(Instance(id="i-7", state=InstanceState.RUNNING), NO_WIRE)


@virtually
async def test_a_forgetful_cloud_lists_what_has_ended_for_a_while() -> None:
    cloud = simulated(forgetful=2)
    session = await session_of(cloud)
    await buy(session)
    await session.terminate(["i-0"])
    assert cloud.alive == [], "it costs nothing any more"
    assert (await session.describe(["i-0"]))["i-0"].state is InstanceState.RUNNING
    assert [each.state for each in await session.list_owned()] == [InstanceState.RUNNING]
    assert await session.list_owned() == []


# booting


@virtually
async def test_a_machine_is_pending_until_it_has_booted() -> None:
    cloud = simulated(boot_seconds=40)
    session = await session_of(cloud)
    await buy(session)
    await asyncio.sleep(39.9)
    waiting = (await session.describe(["i-0"]))["i-0"]
    assert (waiting.state, waiting.ip) == (InstanceState.PENDING, None)
    await asyncio.sleep(0.2)
    up = (await session.describe(["i-0"]))["i-0"]
    assert (up.state, up.private_ip) == (InstanceState.RUNNING, "10.0.0.9")


def test_without_a_virtual_loop_looking_at_a_machine_moves_the_clock_to_when_it_runs() -> None:
    cloud = simulated(boot_seconds=40)

    async def boot() -> InstanceState:
        session = await session_of(cloud)
        await buy(session)
        return (await session.describe(["i-0"]))["i-0"].state

    assert asyncio.run(boot()) is InstanceState.RUNNING
    assert cloud.clock.monotonic() == 40


def test_a_machine_may_never_boot() -> None:
    cloud = simulated(boot_seconds=None)

    async def boot() -> InstanceState:
        session = await session_of(cloud)
        await buy(session)
        cloud.clock.advance(3599)
        return (await session.describe(["i-0"]))["i-0"].state

    assert asyncio.run(boot()) is InstanceState.PENDING


# the end


@pytest.mark.parametrize(
    ("lease", "deadline", "ended", "why"),
    [(60, 3600, 100, "lease"), (None, 3600, 3600, "deadline"), (60, 70, 70, "deadline")],
)
def test_a_machine_ends_itself_at_the_very_moment_at_which_its_time_runs_out(
    lease: float | None, deadline: float, ended: float, why: str
) -> None:
    cloud = simulated(boot_seconds=40)
    clock = cloud.clock

    async def bought() -> None:
        await buy(await session_of(cloud, lease=lease, deadline=clock.time() + deadline))

    run(bought(), VirtualLoop(clock))
    (machine,) = cloud.machines
    clock.advance(ended - 0.001)
    assert (machine.alive, machine.ended, machine.why) == (True, None, "")
    clock.advance(7200)
    assert (machine.alive, machine.ended, machine.why) == (False, ended, why)


def test_a_clock_without_alarms_ends_machines_at_the_moment_too_whenever_somebody_looks() -> None:
    class Plain:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def time(self) -> float:
            return 1e9 + self.now

    plain = Plain()
    cloud = simulated(clock=plain)

    async def bought() -> None:
        await buy(await session_of(cloud, deadline=plain.time() + 3600))

    asyncio.run(bought())
    plain.now = 9999.0
    assert cloud.machines[0].ended == 3600
    assert cloud.bill() == 0.25


@virtually
async def test_a_machine_is_preempted_after_its_notice_and_lost_without_any() -> None:
    cloud = simulated()
    session = await session_of(cloud)
    await buy(session, 0, 1, 2, 3)
    cloud.preempt("i-0")
    cloud.preempt(cloud.machines[1], notice=120)
    cloud.lose(2)
    assert [machine.alive for machine in cloud.machines] == [False, True, False, True]
    await asyncio.sleep(500)
    ends = [(machine.ended, machine.why) for machine in cloud.machines]
    assert ends == [(0, "preempted"), (120, "preempted"), (0, "lost"), (None, "")]
    with pytest.raises(ConfigurationError, match=r"no machine 1 is alive; there are i-3 \(node 3\)"):
        cloud.lose(1)


@virtually
async def test_by_its_nodes_index_the_machine_is_meant_that_was_bought_last() -> None:
    cloud = simulated()
    for pool in ("first", "second"):
        await buy(await session_of(cloud, pool))
    cloud.lose(0)
    assert [machine.alive for machine in cloud.machines] == [True, False]


def test_the_end_of_its_block_ends_what_is_left_in_a_cloud() -> None:
    with simulated() as cloud:
        run(buy_one(cloud), VirtualLoop(cloud.clock))
        assert len(cloud.alive) == 1
    assert cloud.alive == []
    assert cloud.machines[0].why == "closed"
