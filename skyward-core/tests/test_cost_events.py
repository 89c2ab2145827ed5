"""What the events of a pool tell that it has cost, as its user hears them."""

from __future__ import annotations

import threading

import pytest

import skyward as sky
from skyward.testing import FakeCloud, on_demand, spot

pytestmark = pytest.mark.usefixtures("own_ledgers")


@sky.compute
def one() -> int:
    return 1


def test_the_costs_come_again_and_again_and_at_the_end_they_are_the_vendors_bill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skyward._engine._COST_EVERY", 0.05)  # half a minute, which is of the real clock
    updates: list[sky.CostUpdate] = []
    final: list[sky.CostFinal] = []
    offers = [spot(price=0.36, on_demand_price=1.80, billing_quantum=1, billing_minimum=60), on_demand(price=1.80)]
    heard = threading.Event()

    def hear(update: sky.CostUpdate) -> None:
        updates.append(update)
        heard.set()

    with FakeCloud(offers=offers) as cloud:
        with sky.ComputePool(
            cloud.provider, nodes=4, allocation=0.5, display="quiet", timeout=None, lease=None
        ) as pool:
            pool.on(sky.CostUpdate, hear)
            pool.on(sky.CostFinal, final.append)
            assert one() >> pool == 1
            for _ in range(3):
                heard.clear()
                cloud.clock.advance(600)
                assert heard.wait(60)
        assert final[0].total_cost == pytest.approx(cloud.bill(), abs=1e-5)
    assert len(updates) >= 3
    last = updates[-1]
    assert (last.spot_count, last.ondemand_count) == (2, 2)
    assert last.hourly_rate == pytest.approx(2 * 0.36 + 2 * 1.80)
    assert last.accumulated_cost == pytest.approx(last.elapsed_seconds * last.hourly_rate / 3600, abs=0.01)
    costs = [update.accumulated_cost for update in updates]
    assert costs == sorted(costs)
    assert last.accumulated_cost <= final[0].total_cost
    # Half an hour, in which two machines cost a fifth of what they would on demand.
    assert final[0].savings_vs_ondemand == pytest.approx(final[0].total_seconds / 3600 * 2 * (1.80 - 0.36), abs=0.01)
    assert final[0].total_seconds >= 1800
