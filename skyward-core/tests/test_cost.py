"""The bill is right to the cent, whatever the machines did."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._cost import CostMeter
from skyward.errors import ConfigurationError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> CostMeter:
    return CostMeter(clock)


def test_an_hour_of_one_machine_costs_its_price(clock: Clock, meter: CostMeter) -> None:
    meter.start("a", on_demand=0.526)
    clock.now += 3600
    meter.stop("a")
    final = meter.final()
    assert final.total_cost == 0.526
    assert final.total_seconds == 3600
    assert final.hourly_rate == 0.526
    assert (final.spot_count, final.ondemand_count, final.savings_vs_ondemand) == (0, 1, 0.0)


def test_spot_is_paid_at_the_spot_price_and_the_rest_is_saved(clock: Clock, meter: CostMeter) -> None:
    meter.start("a", on_demand=3.0, spot_price=1.0, spot=True)
    meter.start("b", on_demand=3.0, spot_price=1.0)
    clock.now += 1800
    update = meter.update()
    assert (update.accumulated_cost, update.hourly_rate) == (2.0, 4.0)
    assert (update.spot_count, update.ondemand_count, update.elapsed_seconds) == (1, 1, 1800)
    assert meter.final().savings_vs_ondemand == 1.0


def test_dearer_spot_is_reported_as_a_negative_saving(clock: Clock, meter: CostMeter) -> None:
    meter.start("a", on_demand=1.0, spot_price=1.5, spot=True)
    clock.now += 3600
    assert meter.final().savings_vs_ondemand == -0.5


@pytest.mark.parametrize(
    ("seconds", "quantum", "cost"),
    [
        (0, 3600, 1.0),
        (1, 3600, 1.0),
        (3600, 3600, 1.0),
        (3600.001, 3600, 2.0),
        (90, 60, 120 / 3600),
        (0.1, 0.1, 0.000028),
    ],
)
def test_time_is_charged_in_whole_quanta_and_at_least_one(
    clock: Clock, meter: CostMeter, seconds: float, quantum: float, cost: float
) -> None:
    meter.start("a", on_demand=1.0, quantum=quantum)
    clock.now += seconds
    meter.stop("a")
    assert meter.final().total_cost == pytest.approx(cost, abs=1e-6)


def test_ten_thousand_small_machines_add_up_without_drift(clock: Clock, meter: CostMeter) -> None:
    for index in range(10_000):
        meter.start(str(index), on_demand=0.1, quantum=3600)
    assert meter.final().total_cost == 1000.0


def test_a_machine_without_a_price_is_free(clock: Clock, meter: CostMeter) -> None:
    meter.start("local")
    clock.now += 100
    assert meter.final().total_cost == 0.0


@pytest.mark.parametrize("spot", [True, False])
def test_an_unknown_price_is_stood_in_for_by_the_other_one(clock: Clock, spot: bool) -> None:
    for known in ({"on_demand": 2.0}, {"spot_price": 2.0}):
        meter = CostMeter(clock)
        meter.start("a", spot=spot, quantum=3600, **known)
        final = meter.final()
        assert (final.total_cost, final.savings_vs_ondemand) == (2.0, 0.0)


def test_starting_twice_and_stopping_what_does_not_run_change_nothing(clock: Clock, meter: CostMeter) -> None:
    meter.stop("never")
    meter.start("a", on_demand=1.0)
    clock.now += 1800
    meter.start("a", on_demand=9.0)
    clock.now += 1800
    meter.stop("a")
    meter.stop("a")
    clock.now += 3600
    final = meter.final()
    assert (final.total_cost, final.total_seconds, final.ondemand_count) == (1.0, 3600, 1)


def test_a_machine_that_comes_back_is_charged_again(clock: Clock, meter: CostMeter) -> None:
    for _ in range(2):
        meter.start("a", on_demand=1.0, quantum=3600)
        clock.now += 10
        meter.stop("a")
    assert meter.final().total_cost == 2.0


def test_the_final_rate_is_the_highest_of_all_times(clock: Clock, meter: CostMeter) -> None:
    meter.start("a", on_demand=1.0)
    meter.start("b", on_demand=2.0)
    meter.stop("b")
    assert meter.final().hourly_rate == 3.0
    assert meter.update().hourly_rate == 1.0


def test_before_the_first_machine_nothing_has_elapsed(clock: Clock, meter: CostMeter) -> None:
    clock.now += 50
    assert meter.update().elapsed_seconds == 0
    assert meter.final().total_seconds == 0


def test_a_clock_that_is_set_back_takes_nothing_off_the_bill(clock: Clock, meter: CostMeter) -> None:
    meter.start("a", on_demand=1.0)
    clock.now += 3600
    before = meter.update()
    clock.now -= 1800
    assert meter.update() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_demand": -1.0},
        {"spot_price": float("nan")},
        {"on_demand": float("inf")},
        {"quantum": 0.0},
        {"quantum": -1.0},
    ],
)
def test_a_price_or_quantum_that_cannot_be_is_refused(meter: CostMeter, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        meter.start("a", **wrong)  # type: ignore[arg-type]
    assert meter.final().ondemand_count == 0


prices = st.integers(0, 100_000).map(lambda cents: cents / 1000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["start", "stop"]),
        st.integers(0, 4),
        prices,
        prices,
        st.booleans(),
        st.sampled_from([1, 60, 3600]),
        st.integers(0, 100_000),
    ),
    max_size=30,
)


@given(steps)
def test_the_bill_is_what_pencil_and_paper_give(plan: list[tuple[str, int, float, float, bool, int, int]]) -> None:
    clock = Clock()
    meter = CostMeter(clock)
    running: dict[int, tuple[float, Fraction, Fraction, int]] = {}
    paid = saved = Fraction(0)
    last = 0.0

    def close(machine: int) -> None:
        nonlocal paid, saved
        since, price, dear, quantum = running.pop(machine)
        hours = Fraction(max(1, ceil((clock.now - since) / quantum)) * quantum, 3600)
        paid += price * hours
        saved += (dear - price) * hours

    for action, machine, on_demand, spot_price, spot, quantum, pause in plan:
        if action == "start":
            if machine not in running:
                price = spot_price if spot else on_demand
                running[machine] = (clock.now, Fraction(repr(price)), Fraction(repr(on_demand)), quantum)
            meter.start(str(machine), on_demand=on_demand, spot_price=spot_price, spot=spot, quantum=quantum)
        else:
            if machine in running:
                close(machine)
            meter.stop(str(machine))
        clock.now += pause
        update = meter.update()
        assert update.accumulated_cost >= last
        assert update.spot_count + update.ondemand_count == len(running)
        last = update.accumulated_cost
    for machine in list(running):
        close(machine)
        meter.stop(str(machine))
    final = meter.final()
    assert abs(Fraction(final.total_cost) - paid) <= Fraction(1, 10**6)
    assert abs(Fraction(final.savings_vs_ondemand) - saved) <= Fraction(1, 10**6)
    assert final.total_cost == meter.update().accumulated_cost
