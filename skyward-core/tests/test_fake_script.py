"""What a fake cloud bills, and what is scripted for its calls."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import pytest
from cloud_fakes import buy, buy_one, session_of, simulated
from hypothesis import given
from hypothesis import strategies as st

from skyward.errors import Transient, Unavailable
from skyward.model.instance import Instance
from skyward.spi import LaunchRequest
from skyward.testing import After, Hang, Late, spot
from skyward.testing._loop import ClientDied, VirtualLoop, run, virtually

# what it costs


@given(
    prices=st.lists(st.decimals(0, 99, places=4), min_size=1, max_size=4),
    quantum=st.sampled_from([1.0, 60.0, 3600.0, 0.5]),
    lives=st.lists(st.integers(0, 20_000), min_size=1, max_size=4),
)
def test_a_bill_is_exact_and_each_machine_pays_its_quanta_from_creation_to_end(
    prices: list[Any], quantum: float, lives: list[int]
) -> None:
    cloud = simulated(offers=[spot(kind=f"k{at}", price=float(each)) for at, each in enumerate(prices)])
    expected = Fraction(0)

    async def live() -> None:
        nonlocal expected
        session = await session_of(cloud, deadline=None)
        for at, seconds in enumerate(lives):
            price = prices[at % len(prices)]
            offer = spot(kind=f"k{at % len(prices)}", price=float(price), billing_quantum=quantum)
            (bought,) = await buy(session, offer=offer)
            cloud.clock.advance(seconds)
            await session.terminate([bought.id])
            quanta = max(-(-Fraction(seconds) // Fraction(quantum)), 1)
            assert cloud.machines[-1].billed() == quanta * quantum
            expected += quanta * Fraction(quantum) * Fraction(str(float(price))) / 3600

    asyncio.run(live())
    cloud.clock.advance(10_000)
    assert cloud.bill() == round(float(expected), 6)


@given(st.floats(0.001, 90_000), st.sampled_from([1.0, 60.0, 3600.0]))
def test_nobody_is_billed_past_the_deadline_plus_one_quantum(deadline: float, quantum: float) -> None:
    cloud = simulated(offers=[spot(billing_quantum=quantum)])

    async def forgotten() -> None:
        session = await session_of(cloud, deadline=cloud.clock.time() + deadline)
        await buy(session, offer=spot(billing_quantum=quantum))

    asyncio.run(forgotten())
    cloud.clock.advance(500_000)
    (machine,) = cloud.machines
    assert machine.ended == pytest.approx(deadline, abs=1e-5)
    assert deadline - 1e-5 <= machine.billed() < deadline + quantum + 1e-5


def test_a_price_that_nobody_knows_counts_as_the_one_on_demand() -> None:
    cloud = simulated(offers=[spot(price=None, on_demand_price=2.0)])

    async def bought() -> None:
        await buy(await session_of(cloud), offer=spot(price=None, on_demand_price=2.0))

    asyncio.run(bought())
    cloud.clock.advance(1800)
    assert cloud.machines[0].cost() == 1.0


# scripts


@virtually
async def test_a_script_says_how_each_next_call_goes_and_then_calls_are_ordinary() -> None:
    loop = asyncio.get_running_loop()
    cloud = simulated(script={"launch": [Unavailable("sold out")]})
    cloud.script("launch", 20, lambda request: [], None)
    session = await session_of(cloud)
    with pytest.raises(Unavailable, match="sold out"):
        await buy(session)
    assert len(await buy(session)) == 1
    assert loop.time() == pytest.approx(20)
    assert await buy(session) == []
    assert len(await buy(session)) == len(await buy(session)) == 1
    assert len(cloud.machines) == 3
    assert [name for name, _ in cloud.calls] == ["open", *["launch"] * 5]


@virtually
async def test_a_function_of_a_script_may_be_a_coroutine_function() -> None:
    cloud = simulated()
    session = await session_of(cloud)

    async def slowly(request: LaunchRequest) -> list[Instance]:
        await asyncio.sleep(7)
        return session.create(request)[:1]

    cloud.script("launch", slowly)
    assert len(await buy(session, 0, 1)) == 1
    assert asyncio.get_running_loop().time() == pytest.approx(7)


@virtually
async def test_the_effect_may_come_before_the_failure_and_long_after_it() -> None:
    cloud = simulated(script={"launch": [After(Transient("reset")), Late(30, Transient("time-out")), After(5)]})
    session = await session_of(cloud)
    with pytest.raises(Transient, match="reset"):
        await buy(session)
    assert len(cloud.alive) == 1
    with pytest.raises(Transient, match="time-out"):
        await buy(session)
    await asyncio.sleep(29)
    assert len(cloud.alive) == 1
    await asyncio.sleep(2)
    assert [machine.created for machine in cloud.machines] == [0, 30]
    assert len(await buy(session)) == 1, "late, but with its answer"
    assert cloud.machines[2].created == 31


@pytest.mark.parametrize("entry", [Hang, Hang(), After(Hang), Late(1, Hang)])
@virtually
async def test_a_call_may_never_answer(entry: object) -> None:
    cloud = simulated(script={"launch": [entry]})
    session = await session_of(cloud)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(buy(session), 1000)
    assert len(cloud.machines) == isinstance(entry, (After, Late))


def test_a_late_effect_comes_although_its_client_has_died() -> None:
    cloud = simulated(script={"launch": [Late(30, Hang)]})
    loop = VirtualLoop(cloud.clock)
    cloud.clock.call_at(5, lambda: loop.die_at(loop.steps + 1))
    with pytest.raises(ClientDied):
        run(buy_one(cloud), loop)
    assert cloud.machines == []
    cloud.clock.advance(60)
    assert [machine.created for machine in cloud.machines] == [30]


def test_without_a_virtual_loop_a_pause_moves_the_clock_and_nobody_waits() -> None:
    cloud = simulated(script={"launch": [600.0]})
    asyncio.run(buy_one(cloud))
    assert cloud.clock.monotonic() == 600


@virtually
async def test_a_script_that_cannot_be_followed_says_what_one_is_made_of() -> None:
    cloud = simulated(script={"launch": ["sold out"]})
    session = await session_of(cloud)
    with pytest.raises(TypeError, match=r"give an exception, a number of seconds"):
        await buy(session)
