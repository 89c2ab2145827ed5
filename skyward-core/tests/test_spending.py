"""What a pool may spend: the moment up to which its money lasts, to the microsecond and never beyond."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from skyward._spending import ENDING, LEAST, Limits, Spending, amount
from skyward.model.offer import Offer
from skyward.testing import on_demand, spot

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def spending(**limits: float) -> tuple[Spending, Clock]:
    clock = Clock()
    return Spending(Limits(**limits), clock), clock


def bought(money: Spending, offer: Offer, *nodes: int, until: float | None = None) -> None:
    money.ordered("order", offer, nodes, until)
    for node in nodes:
        money.launched(("machine", node), "order", offer, node)
    money.answered("order")


def about(moment: float) -> Any:
    """To less than the time in which anything happens."""
    return pytest.approx(moment, rel=0, abs=1e-4)


def dollars(offer: Offer, seconds: float | Fraction) -> Fraction:
    """What one machine costs that is used for so long, by pencil and paper."""
    quantum, least = Fraction(offer.billing_quantum), Fraction(offer.billing_minimum)
    quanta = max(ceil(max(Fraction(seconds), least) / quantum), 1)
    return Fraction(str(offer.price)) * quanta * quantum / 3600


# the hour


def test_an_offer_is_refused_when_all_machines_together_would_cost_too_much_an_hour() -> None:
    money, _ = spending(max_hourly_cost=2.0)
    assert money.refused(on_demand(price=1.0), range(2)) is None
    assert money.refused(on_demand(price=1.0), range(3)) == (
        "at $1.00 an hour each the pool would cost $3.00 an hour, and max_hourly_cost is $2.00"
    )


def test_what_there_is_and_what_is_expected_count_and_what_has_ended_does_not() -> None:
    money, _ = spending(max_hourly_cost=2.0)
    bought(money, on_demand(price=1.0), 0)
    money.expect([1], [on_demand(price=0.9), spot(price=0.4), spot(price=None)])
    assert money.refused(on_demand(price=0.6), [2]) is None
    assert money.refused(on_demand(price=0.61), [2]) is not None
    assert money.refused(on_demand(price=1.0), [1]) is None, "it takes the place of what was expected for that node"
    money.expect_nothing([1])
    assert money.refused(on_demand(price=1.0), [2]) is None
    money.gone(("machine", 0))
    assert money.refused(on_demand(price=2.0), [2]) is None


def test_a_price_that_nobody_tells_is_refused_where_there_is_a_limit() -> None:
    for limits in ({"max_hourly_cost": 5.0}, {"budget": 5.0}):
        money, _ = spending(**limits)
        assert "its price is not known, and the pool has " in (money.refused(on_demand(price=None), [0]) or "")
    money, _ = spending()
    assert money.refused(on_demand(price=None), [0]) is None


def test_an_order_that_fails_makes_room_again() -> None:
    money, _ = spending(max_hourly_cost=2.0)
    money.expect([0, 1], [spot(price=0.5)])
    money.ordered("order", on_demand(price=1.0), [0, 1], None)
    assert money.refused(spot(price=0.01), [2]) is not None
    money.answered("order")
    assert money.refused(spot(price=1.0), [2]) is None
    assert money.refused(spot(price=1.01), [2]) is not None, "the cheapest is kept free for the nodes that are missing"


def test_what_has_no_part_in_any_pool_is_left_aside_and_the_reason_is_of_the_whole_pool() -> None:
    money, _ = spending(max_hourly_cost=2.0)
    offers = [on_demand("A", price=3.0), on_demand("A", price=1.4), spot("A", price=0.5), on_demand("A", price=None)]
    left_aside = money.hopeless(offers, range(3))
    assert [offer.price for offer, _ in left_aside] == [1.4, 3.0, None]
    assert left_aside[0][1].startswith("at $1.40 an hour each the pool would cost $4.20 an hour")
    assert money.hopeless(offers, range(2)) == [
        left for left in money.hopeless(offers, range(2)) if left[0].price != 1.4
    ]
    assert spending()[0].hopeless(offers, range(3)) == []


# the whole


def test_money_lasts_for_as_long_as_it_pays_for_the_ending_too() -> None:
    money, _ = spending(budget=2.0)
    assert money.affordable(on_demand(price=1.0), range(2)) == about(NOW + 3600 - ENDING)
    assert money.affordable(on_demand(price=0.0), range(2)) is None
    assert spending()[0].affordable(on_demand(price=1.0), range(2)) is None


def test_what_is_billed_in_steps_ends_before_the_step_that_is_too_much() -> None:
    money, _ = spending(budget=2.5)
    assert money.affordable(on_demand(price=1.0, billing_quantum=3600), [0]) == about(NOW + 7200 - ENDING)
    assert money.affordable(on_demand(price=1.0, billing_minimum=3600), [0]) == about(NOW + 9000 - ENDING)


def test_a_step_or_a_minimum_that_is_too_much_at_once_is_refused() -> None:
    more: Any
    for more in ({"billing_quantum": 3600}, {"billing_minimum": 3600}):
        money, _ = spending(budget=0.9)
        assert money.refused(on_demand(price=1.0, **more), [0]) == (
            "at $1.00 an hour each, of which 3600 s are billed at least, budget=0.9 does not pay for 60 s of the pool"
        )
        assert spending(budget=1.0)[0].refused(on_demand(price=1.0, **more), [0]) is None


def test_a_machine_counts_until_it_has_been_told_otherwise() -> None:
    money, clock = spending(budget=2.0)
    bought(money, on_demand(price=1.0), 0, until=NOW + 3600)
    fixed = money.affordable(on_demand(price=1.0), [1])
    assert fixed == about(NOW + 3600 - 2 * ENDING)
    clock.now += 1800
    assert money.affordable(movable=[("machine", 0)]) == about(NOW + 7200 - ENDING)
    money.told(("machine", 0), NOW + 2400)
    assert money.until(("machine", 0)) == NOW + 2400
    assert money.promised() == pytest.approx((2400 + ENDING) / 3600)


def test_what_was_lost_is_paid_and_gone() -> None:
    money, clock = spending(budget=2.0)
    bought(money, on_demand(price=1.0, billing_quantum=3600), 0, until=NOW + 3600)
    clock.now += 10
    money.gone(("machine", 0))
    assert money.affordable(on_demand(price=1.0), [0]) == about(NOW + 10 + 3600 - ENDING)
    clock.now += 99999
    money.gone(("machine", 0))
    assert money.promised() == 1.0


def test_a_machine_whose_end_is_noticed_late_is_paid_until_its_own_deadline() -> None:
    money, clock = spending(budget=2.0)
    bought(money, on_demand(price=1.0), 0, until=NOW + 1800)
    clock.now += 3000
    money.gone(("machine", 0))
    assert money.promised() == pytest.approx((1800 + ENDING) / 3600, abs=1e-6)


def test_machines_that_nobody_told_of_are_paid_for() -> None:
    money, clock = spending(budget=2.0)
    money.ordered("order", on_demand(price=1.0, billing_quantum=1800), [0, 1], NOW + 60)
    clock.now += 5
    money.answered("order", created=2)
    assert money.promised() == 1.0
    assert money.living() == []


# all of it


offers = st.builds(
    lambda price, quantum, minimum: on_demand(price=price / 1000, billing_quantum=quantum, billing_minimum=minimum),
    st.integers(0, 40_000),
    st.sampled_from([0.1, 1, 60, 3600]),
    st.sampled_from([0, 60, 600]),
)


@frozen
class Step:
    what: str
    offer: Offer
    node: int
    pause: int


steps = st.lists(
    st.builds(
        Step, st.sampled_from(["buy", "buy", "lose", "settle", "fail"]), offers, st.integers(0, 5), st.integers(0, 5000)
    ),
    max_size=12,
)


@given(steps, st.integers(1, 5000))
def test_whoever_is_cut_off_at_whatever_moment_the_bill_is_within_the_budget(plan: list[Step], cents: int) -> None:
    money, clock = spending(budget=cents / 100)
    machines: dict[int, tuple[str, Offer, float, float | None]] = {}
    paid = Fraction(0)

    def bill() -> Fraction:
        """If nobody said another word: each machine ends when it knows, and a little later."""
        total = paid
        for _, offer, since, until in machines.values():
            if offer.price:
                assert until is not None
                total += dollars(offer, Fraction(until) + Fraction(ENDING) - Fraction(since))
        return total

    for order, step in enumerate(plan):
        now, key, machine = clock.now, ("order", order), f"i-{order}"
        for node, (name, offer, since, until) in list(machines.items()):
            if until is not None and until <= now:
                paid += dollars(offer, Fraction(until) - Fraction(since))
                del machines[node]
                money.gone(name)
        if step.what == "buy" and step.node not in machines and money.refused(step.offer, [step.node]) is None:
            until = money.affordable(step.offer, [step.node])
            money.ordered(key, step.offer, [step.node], until)
            machines[step.node] = (machine, step.offer, now, until)
            money.launched(machine, key, step.offer, step.node)
            money.answered(key)
        elif step.what == "fail" and money.refused(step.offer, [step.node]) is None:
            money.ordered(key, step.offer, [step.node], money.affordable(step.offer, [step.node]))
            money.answered(key, created=1)
            paid += dollars(step.offer, 0)
        elif step.what == "lose" and step.node in machines:
            name, offer, since, _ = machines.pop(step.node)
            paid += dollars(offer, Fraction(now) - Fraction(since))
            money.gone(name)
        elif step.what == "settle" and (moment := money.affordable(movable=money.living())) is not None:
            for node, (name, offer, since, _) in machines.items():
                machines[node] = (name, offer, since, moment)
                money.told(name, moment)
        assert bill() <= Fraction(cents, 100) + Fraction(1, 10**6)
        clock.now += step.pause


@given(offers, st.integers(1, 9), st.integers(1, 10_000))
def test_the_moment_is_the_latest_that_can_be_paid_for(offer: Offer, nodes: int, cents: int) -> None:
    money, _ = spending(budget=cents / 100)
    moment = money.affordable(offer, range(nodes))
    if moment is None:
        assert not offer.price
        return
    used = Fraction(moment) - Fraction(NOW) + Fraction(ENDING)
    if moment > NOW:
        assert nodes * dollars(offer, used) <= Fraction(cents, 100) + Fraction(1, 10**5)
    assert nodes * dollars(offer, used + Fraction(1, 1000)) >= Fraction(cents, 100) - Fraction(1, 10**5)
    assert (money.refused(offer, range(nodes)) is None) == (moment >= NOW + LEAST)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "$0.25"), (12.3, "$12.30"), (0.0042, "$0.0042"), (0, "$0.00"), (None, "$0.00"), (3, "$3.00")],
)
def test_amounts_are_told_with_cents_and_with_more_where_there_is_more(value: Any, text: str) -> None:
    assert amount(value) == text


# what a machine may come to


def test_a_machine_may_cost_what_its_offer_may_come_to_and_no_more_than_the_limits_allow() -> None:
    several = spot(price=0.25, highest_price=1.0)
    assert spending()[0].ceiling(several, [0]) is None
    assert spending(budget=9.0)[0].ceiling(several, [0]) == 1.0
    assert spending(budget=9.0)[0].ceiling(spot(price=0.25), [0]) == 0.25
    assert spending(max_hourly_cost=1.5)[0].ceiling(several, [0, 1]) == 0.75
    money, _ = spending(max_hourly_cost=1.0)
    bought(money, spot(price=0.5), 0)
    assert money.ceiling(several, [1]) == 0.5


@given(price=st.floats(0.000001, 100), highest=st.floats(0.0, 100), nodes=st.integers(1, 9), limit=st.floats(0, 500))
def test_at_its_ceiling_an_offer_is_not_refused(price: float, highest: float, nodes: int, limit: float) -> None:
    offer = spot(price=price, highest_price=max(price, highest))
    for limits in ({"max_hourly_cost": limit}, {"budget": limit}, {"max_hourly_cost": limit, "budget": limit}):
        money, _ = spending(**limits)
        if money.refused(offer, range(nodes)) is None:
            ceiling = money.ceiling(offer, range(nodes))
            assert ceiling is not None
            assert price <= ceiling
            assert money.refused(evolve(offer, price=ceiling), range(nodes)) is None
