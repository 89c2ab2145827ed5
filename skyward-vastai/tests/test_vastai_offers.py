"""What is asked of the market, and what is offered of what it has."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from fakes.sessions import Hurry
from fakes.vastai import VastAIServer
from hypothesis import given
from hypothesis import strategies as st

from skyward import Accelerator, Image
from skyward.spi import ComputeSpec, LaunchRequest, Offer
from skyward_vastai import VastAI
from skyward_vastai._gpus import accelerator, names_of
from skyward_vastai._offers import Ask, offers_of

IMAGE = Image()

type Opened = Callable[..., Any]
type Spec = Callable[..., ComputeSpec]


def offered(opened: Opened, spec: ComputeSpec, **settings: Any) -> Sequence[Offer]:
    async def main() -> Sequence[Offer]:
        async with opened(**settings) as session:
            found: Sequence[Offer] = await session.offers(spec)
            return found

    return asyncio.run(main())


def asks(offers: Sequence[Offer], market: str = "on-demand") -> list[object]:
    return [offer.details["ask"] for offer in offers if offer.market == market]


def test_the_cheapest_sound_machines_come_first_each_of_them_once(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    offers = offered(opened, spec(accelerator=Accelerator("RTX-4090")))
    assert asks(offers) == [*range(1000, 1012)]
    assert asks(offers, "spot") == [*range(1000, 1012)]
    assert [offer.price for offer in offers] == sorted(offer.price or 0.0 for offer in offers)
    first = offers[0]
    assert (first.market, first.instance_type, first.region) == ("spot", "1x RTX 4090", "Sweden, SE")
    assert (first.accelerator, first.vcpu, first.memory_gb) == (Accelerator("RTX-4090"), 16, 64.3)
    assert {offer.capacity for offer in offers} == {1}
    for_bids, on_demand = [each.body for each in vastai_api.asked("POST *")][::-1]
    assert (for_bids.get("type"), on_demand.get("type")) in (("bid", None), (None, "bid"))


def test_the_price_has_the_disk_and_what_is_bid_is_more_than_the_least(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    for gb, margin in ((32, 1.1), (500, 1.5)):
        offers = offered(opened, spec(accelerator=Accelerator("RTX-4090")), disk_gb=gb, bid_margin=margin)
        disk = 0.15 * gb / 720
        spot = next(offer for offer in offers if offer.market == "spot")
        assert spot.details["bid"] == pytest.approx(0.20 * margin, abs=1e-4)
        assert spot.price == pytest.approx(0.20 * margin + disk, abs=1e-4)
        assert spot.on_demand_price == pytest.approx(0.40 + disk, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({"reliability": 0.5}, {4001}),
        ({"verified": False}, {4003}),
        ({"geolocation": ("NO",)}, None),
        ({"geolocation": "se"}, set()),
        ({"cuda": 12.8}, set()),
        ({"cuda": 12.9}, None),
        ({"datacenter": True}, None),
        ({"max_price": 0.42}, {1000, 1001}),
        ({"disk_gb": 501}, None),
    ],
)
def test_hosts_are_chosen_by_the_settings(
    vastai_api: VastAIServer, opened: Opened, spec: Spec, settings: dict[str, Any], added: set[int] | None
) -> None:
    wanted = spec(accelerator=Accelerator("RTX-4090"))
    usual = set(range(1000, 1012))
    expected = set() if added is None else added if "max_price" in settings else usual | added
    assert set(asks(offered(opened, wanted, **settings))) == expected


def test_hosts_that_end_before_the_pool_are_left_out(vastai_api: VastAIServer, opened: Opened, spec: Spec) -> None:
    wanted = spec(accelerator=Accelerator("RTX-4090"))
    assert 4004 not in asks(offered(opened, evolve(wanted, timeout=601.0)))
    assert 4004 in asks(offered(opened, evolve(wanted, timeout=600.0)))
    assert 4004 in asks(offered(opened, evolve(wanted, timeout=None)))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("A100", {3001, 3002}),
        ("A100-SXM", {3001}),
        ("A100-40GB:4", {3000, 3001}),  # more memory meets the request, too
        ("A100-40GB:16", set()),
        ("H100", {3003, 3004}),
        ("H100-NVL:2", {3004}),
        ("T4", {3005}),
        ("MI300X", set()),
    ],
)
def test_accelerators_are_found_under_the_vendors_names(
    vastai_api: VastAIServer, opened: Opened, spec: Spec, wanted: str, found: set[int]
) -> None:
    offers = offered(opened, spec(accelerator=Accelerator.parse(wanted)))
    assert {offer.details["ask"] for offer in offers} == found


def test_a_machine_by_name_is_exactly_that(vastai_api: VastAIServer, opened: Opened, spec: Spec) -> None:
    assert set(asks(offered(opened, spec(machine="1x RTX 3060")))) == set(range(2000, 2006))
    assert asks(offered(opened, spec(machine="8x A100 SXM4"))) == [3000, 3001]
    assert offered(opened, spec(machine="3x RTX 3060")) == []
    assert offered(opened, spec(machine="p5.48xlarge")) == []


def test_cpus_and_memory_are_those_of_the_part_that_is_rented(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    assert asks(offered(opened, spec(cpu=17, memory_gb=100.0))) == [3005, 3002, 3004, 3000, 3001, 3003]
    assert 1000 in asks(offered(opened, spec(memory_gb=64.0)))
    assert 1000 not in asks(offered(opened, spec(memory_gb=65.0))), "its host has twice as much"


def test_without_a_wish_the_cheapest_machine_comes_whatever_it_has(
    vastai_api: VastAIServer, opened: Opened, spec: Spec
) -> None:
    assert offered(opened, spec())[0].instance_type == "1x RTX 3060"


def test_a_bid_without_anything_to_compare_with_has_no_price(spec: Spec) -> None:
    bid = Ask(id=1, machine_id=2, gpu_name="RTX 4090", num_gpus=1, min_bid=0.2, dph_total=0.2)
    [offer] = offers_of([], [bid], spec(), VastAI())
    assert (offer.price, offer.on_demand_price) == (None, None)
    assert offer.details["bid"] == pytest.approx(0.22)


def test_hosts_that_have_failed_are_passed_over_while_there_are_others(spec: Spec) -> None:
    bad, good = (Ask(id=n, machine_id=n, gpu_name="L4", num_gpus=1, dph_total=float(n)) for n in (1, 2))
    both = offers_of([bad, good], [], spec(), VastAI(), avoided={1})
    assert [offer.details["ask"] for offer in both] == [2]
    alone = offers_of([bad], [], spec(), VastAI(), avoided={1})
    assert [offer.details["ask"] for offer in alone] == [1]


def test_what_was_found_is_used_for_seconds_without_what_was_ordered(
    vastai_api: VastAIServer, opened: Opened, spec: Spec, hurry: Hurry
) -> None:
    wanted = spec(accelerator=Accelerator("RTX-4090"))

    async def main() -> None:
        async with opened() as session:
            first, *_ = offers = await session.offers(wanted)
            assert await session.offers(wanted) == offers
            assert len(vastai_api.asked("POST /api/v0/bundles")) == 2, "one for each market"
            [machine] = await session.launch(LaunchRequest(offer=first, nodes=(0,), spec=wanted))
            assert 1000 not in {offer.details["ask"] for offer in await session.offers(wanted)}
            await session.terminate([machine.id])
            assert len(vastai_api.asked("POST /api/v0/bundles")) == 2
            await hurry.sleep(20)
            assert 1000 in {offer.details["ask"] for offer in await session.offers(wanted)}
            assert len(vastai_api.asked("POST /api/v0/bundles")) == 4

    asyncio.run(main())


dollars = st.floats(min_value=0.001, max_value=100.0)


@given(least=dollars, on_demand=dollars, disk=st.floats(min_value=0, max_value=1), margin=st.floats(1, 10))
def test_a_bid_wins_now_and_is_not_dearer_than_on_demand_unless_it_must(
    least: float, on_demand: float, disk: float, margin: float
) -> None:
    ask = Ask(id=1, machine_id=1, gpu_name="L4", num_gpus=1, dph_total=on_demand + disk, storage_total_cost=disk)
    spec = ComputeSpec(nodes=1, image=IMAGE)
    offers = offers_of([ask], [evolve(ask, min_bid=least)], spec, VastAI(bid_margin=margin))
    [spot] = [offer for offer in offers if offer.market == "spot"]
    bid = spot.details["bid"]
    assert isinstance(bid, float)
    assert bid >= least - 1e-9
    assert bid <= max(least, min(least * margin, on_demand)) + 2e-4
    assert spot.price == pytest.approx(bid + disk, abs=1e-5)


@given(
    prices=st.lists(st.tuples(dollars, dollars), max_size=150),
    nodes=st.integers(1, 20),
)
def test_there_are_enough_offers_for_the_nodes_and_an_end_to_them(
    prices: list[tuple[float, float]], nodes: int
) -> None:
    rows = [
        Ask(id=n, machine_id=n, gpu_name="L4", num_gpus=1, dph_total=dear, min_bid=cheap)
        for n, (dear, cheap) in enumerate(prices)
    ]
    offers = offers_of(rows, rows, ComputeSpec(nodes=nodes, image=IMAGE), VastAI())
    for market in ("spot", "on-demand"):
        there = [offer for offer in offers if offer.market == market]
        assert min(len(rows), nodes) <= len(there) <= nodes + 40
    costs = [offer.price if offer.price is not None else math.inf for offer in offers]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("name", "mb", "said"),
    [
        ("A100 SXM4", 40536, "A100-SXM-40GB"),
        ("A100 SXM4", 81559, "A100-SXM-80GB"),
        ("Tesla V100", 32510, "V100-32GB"),
        ("Tesla T4", 15360, "T4"),
        ("H100 NVL", 95830, "H100-NVL"),
        ("H200", 143771, "H200-SXM"),
        ("Q RTX 8000", 49152, "Quadro-RTX-8000"),
        ("RTX 6000Ada", 49140, "RTX-6000-Ada"),
        ("RTX 3060", 12288, "None"),
    ],
)
def test_names_and_sizes_of_the_vendor_are_read(name: str, mb: float, said: str) -> None:
    assert str(accelerator(name, 1, mb)) == said
    assert accelerator(name, 0, mb) is None


def test_a_model_that_the_table_lacks_is_asked_for_by_its_own_name() -> None:
    assert names_of(Accelerator("B300")) == ["B300"]
    assert names_of(Accelerator("RTX-4090")) == ["RTX 4090", "RTX_4090"]
