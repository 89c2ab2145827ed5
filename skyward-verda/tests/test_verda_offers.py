"""What Verda sells, in core's names, and where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from fakes.verda import Fake
from fakes.verda.catalogue import KINDS
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward import Accelerator, Unavailable
from skyward.spi import ComputeSpec, Offer
from skyward_verda._catalog import Available, Description, Devices, Kind, Memory, accelerator_of, offers_of
from skyward_verda._images import Image, chosen

SPEC = ComputeSpec(nodes=1, image=sky.Image())


@pytest.mark.parametrize(
    ("name", "model", "count", "memory", "kind", "expected"),
    [
        ("H100 SXM5 80GB", "H100", 1, 80, "1H100.80S.30V", "H100-SXM"),
        ("H100 SXM5 80GB", "H100", 8, 640, "8H100.80S.176V", "H100-SXM:8"),
        ("A100 SXM4 40GB", "A100", 1, 40, "1A100.40S.22V", "A100-SXM-40GB"),
        (None, "A100", 1, 40, "1A100.40S.22V", "A100-40GB"),
        ("Tesla V100 16GB", "Tesla V100", 4, 64, "4V100.20V", "V100-16GB:4"),
        ("RTX 6000 Ada 48GB", "RTX 6000 Ada", 1, 48, "1RTX6000ADA.10V", "RTX-6000-Ada"),
        ("RTX PRO 6000 96GB", "RTX PRO 6000", 1, 96, "1RTXPRO6000.30V", "RTX-PRO-6000"),
        ("RTX A6000 48GB", "RTX A6000", 2, 96, "2A6000.20V", "A6000:2"),
        ("L40S 48GB", "L40S", 1, 48, "1L40S.20V", "L40S"),
        ("B200 SXM6 180GB", "B200", 1, 180, "1B200.30V", "B200-SXM"),
        ("B300 SXM6 262GB", "B300", 1, 262, "1B300.30V", "B300-SXM"),
        ("Something New", "New", 1, 80, "1H200.141S.44V", None),
        ("Something New", "New", 1, 141, "1H200.141S.44V", "H200"),
        ("Something New", "New", 1, 512, "1NEW.44V", None),
        ("AMD EPYC", "AMD EPYC", 0, 0, "CPU.4V.16G", None),
    ],
)
def test_gpus_are_told_by_cores_names(
    name: str | None, model: str, count: int, memory: int, kind: str, expected: str | None
) -> None:
    told = Kind(
        instance_type=kind, name=name, model=model, gpu=Devices(count, f"{count}x {name}"), gpu_memory=Memory(memory)
    )
    found = accelerator_of(told)
    assert (None if found is None else str(found)) == (None if expected is None else str(Accelerator.parse(expected)))


def asked(spec: ComputeSpec, opened: Any, **settings: Any) -> list[Offer]:
    async def main() -> list[Offer]:
        async with opened(**settings) as session:
            return list(await session.offers(spec))

    return asyncio.run(main())


def test_offers_have_the_vendors_prices_for_both_markets_and_the_cheapest_comes_first(
    verda_api: Fake, opened: Any
) -> None:
    offers = asked(evolve(SPEC, accelerator=Accelerator("H100")), opened)
    assert [(each.instance_type, each.market, each.region, each.price, each.on_demand_price) for each in offers] == [
        ("1H100.80S.30V", "spot", "FIN-03", 0.8015, 2.29),
        ("1H100.80S.30V", "on-demand", "FIN-01", 2.29, 2.29),
        ("1H100.80S.30V", "on-demand", "FIN-03", 2.29, 2.29),
    ]
    assert {(each.vcpu, each.memory_gb, each.billing_minimum) for each in offers} == {(30, 120, 600.0)}
    assert {str(each.accelerator) for each in offers} == {"H100-SXM"}


def test_what_is_not_to_be_had_now_is_not_offered(verda_api: Fake, opened: Any) -> None:
    verda_api.market.on_demand["FIN-01"].clear()
    verda_api.market.spot["FIN-03"]["1H100.80S.30V"] = 0
    offers = asked(evolve(SPEC, accelerator=Accelerator("H100")), opened)
    assert [(each.market, each.region) for each in offers] == [("on-demand", "FIN-03")]


def test_a_region_that_is_given_is_the_only_one_whatever_its_case(verda_api: Fake, opened: Any) -> None:
    assert {each.region for each in asked(SPEC, opened)} == {"FIN-01", "FIN-03", "ICE-01"}
    assert {each.region for each in asked(SPEC, opened, region="ice-01")} == {"ICE-01"}
    assert asked(evolve(SPEC, accelerator=Accelerator("H100")), opened, region="ICE-01") == []


def test_machines_with_gpus_are_offered_to_whoever_asks_for_them_alone(verda_api: Fake, opened: Any) -> None:
    assert {each.instance_type for each in asked(SPEC, opened)} == {"CPU.4V.16G", "CPU.8V.32G"}
    named = asked(evolve(SPEC, machine="1V100.6V"), opened)
    assert {each.instance_type for each in named} == {"1V100.6V"}
    assert {str(each.accelerator) for each in named} == {"V100-16GB"}


def test_what_has_no_price_on_spot_is_not_sold_so(verda_api: Fake, opened: Any) -> None:
    assert {each.market for each in asked(evolve(SPEC, machine="1B300.30V"), opened)} == {"on-demand"}


def test_prices_are_asked_for_in_dollars_and_others_are_unknown(verda_api: Fake, opened: Any) -> None:
    asked(SPEC, opened)
    assert [seen.query for seen in verda_api.asked("GET /v1/instance-types")] == [{"currency": "usd"}]
    kind = Kind(
        instance_type="CPU.4V.16G", price_per_hour="0.03", currency="eur", cpu=Description(4), memory=Memory(16)
    )
    [offer] = offers_of(
        [kind], {"on-demand": [Available("FIN-01", ("CPU.4V.16G",))]}, SPEC, provider="Verda", region=None
    )
    assert (offer.price, offer.on_demand_price) == (None, None)


def test_both_spellings_of_the_question_for_spot_capacity_are_asked(verda_api: Fake, opened: Any) -> None:
    asked(SPEC, opened)
    queries = [seen.query for seen in verda_api.asked("GET /v1/instance-availability")]
    assert sorted(query["is_spot"] + query["isSpot"] for query in queries) == ["falsefalse", "truetrue"]


def test_fields_that_the_vendor_adds_or_leaves_out_do_no_harm(
    verda_api: Fake, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = {key: KINDS[0][key] for key in ("instance_type", "price_per_hour", "cpu", "memory")}
    verda_api.faults.fail("GET /v1/instance-types", 200, body=[{**bare, "news": [1], "gpu": None, "currency": "usd"}])
    offers = asked(SPEC, opened)
    assert {(each.instance_type, each.market, each.price) for each in offers} == {("CPU.4V.16G", "on-demand", 0.0279)}


prices = st.one_of(st.none(), st.sampled_from(["", "free", "nan", "-1", "0"]), st.floats(0.01, 50).map(str))
kinds = st.builds(
    Kind,
    instance_type=st.sampled_from(["CPU.4V.16G", "1H100.80S.30V", "8H100.80S.176V", "1A100.40S.22V"]),
    price_per_hour=prices,
    spot_price=prices,
    currency=st.sampled_from(["usd", "USD", "eur"]),
    name=st.sampled_from(["H100 SXM5 80GB", "A100 SXM4 40GB", "?", None]),
    model=st.just("H100"),
    cpu=st.builds(Description, st.integers(0, 200)),
    gpu=st.builds(Devices, st.integers(0, 8), st.just("")),
    memory=st.builds(Memory, st.floats(0, 2000)),
    gpu_memory=st.builds(Memory, st.floats(0, 2000)),
)
rows = st.lists(
    st.builds(
        Available, st.sampled_from(["FIN-01", "ICE-01"]), st.lists(kinds.map(lambda k: k.instance_type)).map(tuple)
    )
)
specs = st.builds(
    ComputeSpec,
    nodes=st.just(1),
    image=st.just(sky.Image()),
    cpu=st.none() | st.integers(1, 64),
    memory_gb=st.none() | st.floats(1, 500),
    accelerator=st.none() | st.sampled_from([Accelerator("H100"), Accelerator("A100", memory="40GB")]),
)


@given(st.lists(kinds, max_size=6), rows, rows, specs, st.sampled_from([None, "FIN-01", "fin-01"]))
def test_whatever_the_vendor_says_offers_meet_the_request_and_are_in_order(
    sold: list[Kind], demand: list[Available], spot: list[Available], spec: ComputeSpec, region: str | None
) -> None:
    offers = offers_of(sold, {"on-demand": demand, "spot": spot}, spec, provider="Verda", region=region)
    costs = [offer.price for offer in offers if offer.price is not None]
    assert costs == sorted(costs)
    assert all(price > 0 for price in costs)
    for offer in offers:
        assert offer.vcpu >= (spec.cpu or 2)
        assert offer.memory_gb >= (spec.memory_gb or 3.5)
        assert region is None or offer.region == "FIN-01"
        if spec.accelerator is not None:
            assert offer.accelerator is not None
            assert offer.accelerator.satisfies(spec.accelerator)


# ---- images

NAMES = ["ubuntu-22.04", "ubuntu-24.04", "ubuntu-24.04-cuda-12.8-open-docker", "ubuntu-24.04-cuda-12.8-open", "jupyter"]


@pytest.mark.parametrize(
    ("names", "supported", "cuda", "expected"),
    [
        (NAMES, [], False, "ubuntu-24.04"),
        (NAMES, [], True, "ubuntu-24.04-cuda-12.8-open"),
        (NAMES, ["ubuntu-24.04-cuda-12.8-open-docker"], True, "ubuntu-24.04-cuda-12.8-open-docker"),
        (NAMES, ["an id that is no name"], True, "ubuntu-24.04-cuda-12.8-open"),
        (["ubuntu-22.04-cuda-12.10", "ubuntu-22.04-cuda-12.9"], [], True, "ubuntu-22.04-cuda-12.10"),
        (["ubuntu-22.04-cuda-12.4-docker", "ubuntu-24.04"], [], True, "ubuntu-22.04-cuda-12.4-docker"),
    ],
)
def test_machines_boot_the_newest_ubuntu_that_they_can(
    names: list[str], supported: list[str], cuda: bool, expected: str
) -> None:
    assert chosen(map(Image, names), supported, cuda=cuda, kind="x") == expected


def test_images_of_clusters_are_not_for_machines() -> None:
    images = [Image("ubuntu-24.04-cuda-13.0-open", is_cluster=True), Image("ubuntu-22.04-cuda-12.4")]
    assert chosen(images, [], cuda=True, kind="x") == "ubuntu-22.04-cuda-12.4"


def test_a_machine_without_a_fitting_image_is_told_with_what_there_is() -> None:
    with pytest.raises(Unavailable, match=r"with CUDA for 1X.1V, but jupyter, ubuntu-24.04: .*Verda\(image"):
        chosen([Image("jupyter"), Image("ubuntu-24.04")], [], cuda=True, kind="1X.1V")
