"""The bill of a whole road, right to the cent: every figure is worked out by hand from what happens when."""

from __future__ import annotations

import asyncio

import pytest
from road_fakes import FakeProvider, Journey, on_demand, spot, virtually

from skyward._node import Node
from skyward.model.offer import Offer

pytestmark = pytest.mark.usefixtures("own_ledgers")


async def until(moment: float) -> None:
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


async def lost(journey: Journey) -> Node:
    """The node that the pool has just come to miss."""
    while not (found := journey.road.lost_early()):  # noqa: ASYNC110  the road tells nobody
        await asyncio.sleep(0.25)
    ((node, _),) = found
    return node


@virtually
async def test_a_pool_of_both_markets_that_loses_a_machine_is_billed_to_the_cent() -> None:
    # Spot is billed by the minute at $0.36 an hour, so $0.006 for each; on-demand by the hour at $1.20.
    cloud = FakeProvider(
        "F",
        [
            spot("F", price=0.36, on_demand_price=1.20, billing_quantum=60),
            on_demand("F", price=1.20, billing_quantum=3600),
        ],
    )
    journey = Journey(cloud, nodes=3, allocation=0.5, timeout=None)  # nodes 0 and 1 on spot, node 2 on demand
    await journey.road.provision()
    await until(2990)
    cloud.preempt("i-1")
    await journey.road.replace(await lost(journey), lambda: None)
    assert asyncio.get_running_loop().time() < 3000
    assert [machine.id for machine in cloud.alive] == ["i-0", "i-2", "i-3"]

    await until(5380)
    now = journey.cost.update()
    # 90 minutes of i-0, 50 of i-1, 40 of i-3, two hours of i-2 begun
    assert now.accumulated_cost == pytest.approx(90 * 0.006 + 50 * 0.006 + 40 * 0.006 + 2 * 1.20, abs=1e-9)
    assert (now.hourly_rate, now.spot_count, now.ondemand_count) == (1.92, 2, 1)
    assert now.elapsed_seconds == pytest.approx(5380, abs=1)

    await until(7160)
    await journey.road.destroy()
    assert asyncio.get_running_loop().time() < 7170
    await until(9999)  # nothing costs any more
    final = journey.cost.final()
    # 120 minutes of i-0, 50 of i-1, 70 of i-3 (2990 to 7160 s), 2 hours of i-2
    assert final.total_cost == 3.84  # 0.72 + 0.30 + 0.42 + 2.40
    # On demand: 2 h, 50 min, 70 min and 2 h at $1.20 = 2.40 + 1.00 + 1.40 + 2.40 = 7.20
    assert final.savings_vs_ondemand == 3.36
    assert (final.spot_count, final.ondemand_count, final.hourly_rate) == (3, 1, 1.92)
    assert final.total_seconds == pytest.approx(7160, abs=5)
    assert cloud.bill() == 3.84, "the cloud's own bill"
    assert journey.cost.update().hourly_rate == 0


@virtually
async def test_a_machine_that_was_lost_before_the_pool_was_complete_is_on_the_bill_as_well() -> None:
    cloud = FakeProvider("F", [on_demand("F", price=3.60, billing_quantum=60)], boot=90.0)

    def take(ids: list[str]) -> object:
        cloud.lose("i-0")
        return cloud._backend.describe(ids)

    cloud.script("describe", None, take)
    journey = Journey(cloud, nodes=2)
    await journey.road.provision()  # i-0 ends within its first minute, i-2 comes instead
    await until(3590)
    await journey.road.destroy()
    final = journey.cost.final()
    # i-0 one minute, i-1 and i-2 an hour each: at $0.06 for the minute
    assert final.total_cost == pytest.approx(0.06 + 2 * 3.60, abs=1e-9)
    assert (final.ondemand_count, final.savings_vs_ondemand) == (3, 0.0)
    assert cloud.bill() == pytest.approx(final.total_cost, abs=1e-9)


@virtually
async def test_machines_of_two_providers_with_prices_of_their_own_are_added_up() -> None:
    cheap = FakeProvider("Cheap", [spot("Cheap", price=0.90, on_demand_price=3.0, billing_quantum=1, capacity=1)])
    dear = FakeProvider("Dear", [on_demand("Dear", price=2.0, billing_quantum=600)])
    journey = Journey(cheap, dear, nodes=3)
    await journey.road.provision()
    await until(1795)
    await journey.road.destroy()
    final = journey.cost.final()
    (first,) = cheap.machines
    seconds = round(first.billed())
    assert 1795 <= seconds <= 1800
    assert cheap.bill() + dear.bill() == pytest.approx(final.total_cost, abs=0.005)
    assert dear.bill() == 2.0  # two machines, half an hour each at $2.00
    assert final.savings_vs_ondemand == pytest.approx(seconds * (3.0 - 0.90) / 3600, abs=0.005)


@virtually
async def test_a_spot_machine_costs_what_it_did_when_it_was_bought_and_at_least_the_minimum() -> None:
    def market(price: float) -> list[Offer]:
        return [spot("F", price=price, on_demand_price=2.0, billing_quantum=1, billing_minimum=900)]

    cloud = FakeProvider("F", market(0.40))
    journey = Journey(cloud, nodes=2, timeout=None)
    await journey.road.provision()
    await until(295)
    cloud.sell(*market(0.80))  # from now on
    cloud.preempt("i-1")
    await journey.road.replace(await lost(journey), lambda: None)
    assert journey.cost.update().hourly_rate == pytest.approx(1.20)
    await until(3600)
    await journey.road.destroy()
    final = journey.cost.final()
    assert cloud.bill() == pytest.approx(final.total_cost, abs=0.002)
    seconds = final.total_seconds
    # i-0 for an hour at $0.40, i-1 for the minimum of a quarter at $0.40, i-2 for the rest of the hour at $0.80
    assert final.total_cost == pytest.approx(0.40 * seconds / 3600 + 0.10 + 0.80 * (seconds - 297) / 3600, abs=0.002)
    on_demand_for_all = 2.0 * (seconds + 900 + seconds - 297) / 3600
    assert final.savings_vs_ondemand == pytest.approx(on_demand_for_all - final.total_cost, abs=0.004)
    assert (final.spot_count, final.ondemand_count) == (3, 0)
