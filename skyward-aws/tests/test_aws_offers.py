"""What is offered: true, fitting, the cheapest first, and asked of AWS once a day."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.rig import Rig

import skyward as sky
from skyward.spi import ComputeSpec, Offer
from skyward_aws._catalog import Kind, read
from skyward_aws._offers import Prices, offers_of
from skyward_aws._prices import price_of, spot_prices
from skyward_aws._session import AWSSession

type Opened = Callable[..., AbstractAsyncContextManager[AWSSession]]

ZONES = ("a", "b", "c")
kinds = st.builds(
    Kind,
    name=st.from_regex(r"[cmrgp][1-9]\.(large|xlarge|metal)", fullmatch=True),
    vcpu=st.integers(1, 96),
    memory_gb=st.floats(0.5, 800),
    architecture=st.sampled_from(["x86_64", "arm64"]),
    accelerator=st.sampled_from(["", "", "T4", "T4:4", "A100-40GB:8"]),
    odd=st.booleans(),
    on_demand=st.booleans(),
    spot=st.booleans(),
    plain=st.booleans(),
    zones=st.sets(st.sampled_from(ZONES)).map(sorted),
)
names = kinds.map(lambda kind: kind.name)
prices = st.builds(
    Prices,
    st.dictionaries(names, st.floats(0.01, 50)),
    st.dictionaries(names, st.dictionaries(st.sampled_from(ZONES), st.floats(0.01, 50))),
)


def wish(**what: Any) -> ComputeSpec:
    return ComputeSpec(nodes=2, image=sky.Image(), **what)


def offered(found: list[Kind], known: Prices, spec: ComputeSpec, architecture: str | None = None) -> list[Offer]:
    return offers_of(found, known, spec, provider="AWS", region="r", zones=ZONES[:2], architecture=architecture)


specs = st.builds(
    wish,
    accelerator=st.sampled_from([None, sky.Accelerator("T4"), sky.Accelerator("T4", count=2)]),
    cpu=st.none() | st.integers(1, 64),
    memory_gb=st.none() | st.floats(1, 500),
)


@given(st.lists(kinds, unique_by=lambda kind: kind.name), prices, specs)
def test_every_offer_meets_the_request_in_zones_that_have_a_subnet(
    found: list[Kind], known: Prices, spec: ComputeSpec
) -> None:
    offers = offered(found, known, spec)
    by_name = {kind.name: kind for kind in found}
    for offer in offers:
        kind = by_name[offer.instance_type]
        assert kind.plain
        assert not kind.odd
        assert offer.vcpu >= (spec.cpu or 2)
        assert offer.memory_gb >= (spec.memory_gb or 3.5)
        assert (offer.accelerator is None) == (spec.accelerator is None)
        zones = offer.details["zones"]
        assert isinstance(zones, list)
        assert zones
        assert set(zones) <= set(kind.zones) & set(ZONES[:2])
        assert offer.market != "spot" or offer.price is None or offer.on_demand_price is not None
    assert len({offer.details["architecture"] for offer in offers}) <= 1
    told = [offer.price for offer in offers if offer.price is not None and offer.on_demand_price is not None]
    assert told == sorted(told)


def machine(name: str, **what: Any) -> Kind:
    return Kind(**{"name": name, "vcpu": 4, "memory_gb": 16.0, "architecture": "x86_64", "zones": ZONES, **what})


def test_machines_that_cost_many_times_the_cheapest_are_left_out() -> None:
    known = Prices({"m7i.xlarge": 0.2, "m7i.4xlarge": 0.8, "x2.32xlarge": 26.0}, {})
    found = [machine(name) for name in known.on_demand]
    assert [offer.instance_type for offer in offered(found, known, wish())] == ["m7i.xlarge", "m7i.4xlarge"]


def test_a_machine_that_is_named_is_offered_whatever_it_is() -> None:
    odd = machine("vt1.metal", plain=False, odd=True, vcpu=1, memory_gb=1.0, accelerator="T4", architecture="arm64")
    [offer] = offered([odd, machine("m7i.xlarge")], Prices({}, {}), wish(machine="vt1.metal"))
    assert (offer.instance_type, offer.market, offer.price) == ("vt1.metal", "on-demand", None)


def test_arm_is_offered_where_it_is_asked_for_or_nothing_else_has_what_is_needed() -> None:
    known = Prices({"m7i.xlarge": 0.2, "m7g.xlarge": 0.1, "g5g.xlarge": 0.4}, {})
    found = [
        machine("m7i.xlarge"),
        machine("m7g.xlarge", architecture="arm64"),
        machine("g5g.xlarge", architecture="arm64", accelerator="T4G"),
    ]

    def types(spec: ComputeSpec, architecture: str | None = None) -> list[str]:
        return [offer.instance_type for offer in offered(found, known, spec, architecture)]

    assert types(wish()) == ["m7i.xlarge"]
    assert types(wish(), "arm64") == ["m7g.xlarge"]
    assert types(wish(accelerator=sky.Accelerator("T4G"))) == ["g5g.xlarge"]


def test_a_spot_offer_has_the_price_of_its_cheapest_zone_and_lasts_a_minute_on_the_bill() -> None:
    known = Prices({"m7i.xlarge": 0.2}, {"m7i.xlarge": {"a": 0.09, "b": 0.08, "c": 0.01}})
    spot, _ = offered([machine("m7i.xlarge")], known, wish())
    assert (spot.market, spot.price, spot.on_demand_price, spot.details["zones"]) == ("spot", 0.08, 0.2, ["b", "a"])
    assert (spot.billing_quantum, spot.billing_minimum) == (1.0, 60.0)


def test_every_type_that_moto_knows_is_read() -> None:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    found = {name: read(facts, ["a"]) for name, facts in INSTANCE_TYPES.items()}
    assert len(found) > 1000
    told = {name: kind for name, kind in found.items() if kind is not None}
    assert {name.partition(".")[0].rstrip("0123456789-aultrmxpo") for name in found.keys() - told.keys()} <= {"mac", ""}
    devices = {
        "p4d.24xlarge": "A100-40GB:8",
        "p4de.24xlarge": "A100-80GB:8",
        "g5.xlarge": "A10G",
        "g4dn.12xlarge": "T4:4",
        "inf2.24xlarge": "Inferentia2:6",
        "trn1.32xlarge": "Trainium1:16",
        "m7i.large": "",
    }
    assert {name: told[name].accelerator for name in devices} == devices
    assert told["g6f.xlarge"].odd
    assert not told["t3.large"].plain
    assert not told["m7i.metal-24xl"].plain
    assert told["m7g.large"].architecture == "arm64"
    assert told["m7i.large"].memory_gb == 8.59


def test_a_price_is_that_of_an_hour() -> None:
    def product(unit: str, price: str) -> str:
        dimension = {"unit": unit, "pricePerUnit": {"USD": price}}
        terms = {"OnDemand": {"x": {"priceDimensions": {"y": dimension}}}}
        return json.dumps({"product": {"attributes": {"instanceType": "m7i.large"}}, "terms": terms})

    assert price_of(product("Hrs", "0.1008000000")) == ("m7i.large", 0.1008)
    assert price_of(product("Hrs", "0.0000000000")) == ("m7i.large", None)
    assert price_of(product("Quantity", "100")) == ("m7i.large", None)


def test_the_last_spot_price_of_a_zone_counts() -> None:
    rows = [
        {"InstanceType": "t", "AvailabilityZone": "a", "SpotPrice": price, "Timestamp": moment}
        for moment, price in ((2, "0.2"), (1, "0.1"), (0, "nonsense"))
    ]
    assert spot_prices(rows) == {"t": {"a": 0.2}}


def test_what_is_offered_is_asked_once_and_kept(aws_api: Rig, opened: Opened, cache: Path) -> None:
    async def main() -> None:
        async with opened() as session:
            first = await session.offers(wish())
        asked = aws_api.calls
        async with opened() as session:
            assert await session.offers(wish()) == first
            gpus = await session.offers(wish(accelerator=sky.Accelerator("T4")))
        slow = ("ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeSpotPriceHistory")
        assert {name: aws_api.calls[name] for name in (*slow, "pricing:GetProducts")} == {
            name: asked[name] for name in (*slow, "pricing:GetProducts")
        }
        assert (first[0].instance_type, first[0].market) == ("c7i.large", "spot")
        assert first[0].on_demand_price == 0.08925
        assert [str(offer.accelerator) for offer in gpus[:1]] == ["T4"]

    asyncio.run(main())


def test_what_is_kept_and_cut_off_is_asked_anew(aws_api: Rig, opened: Opened, cache: Path) -> None:
    async def main() -> None:
        async with opened() as session:
            first = await session.offers(wish())
        files = sorted((cache / "skyward" / "aws").glob("*.json"))
        assert len(files) == 3
        for file in files:
            file.write_text(file.read_text()[:50])
        async with opened() as session:
            assert await session.offers(wish()) == first

    asyncio.run(main())


def test_without_the_permission_to_read_prices_machines_are_offered_at_unknown_ones(
    aws_api: Rig, opened: Opened, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aws_api.allow("ec2:*", "ssm:*")

    async def main() -> None:
        async with opened() as session:
            offers = await session.offers(wish())
            assert offers
            assert {offer.price for offer in offers} == {None}
            assert offers[0].instance_type == "c7i.large"

    asyncio.run(main())
    assert "add pricing:GetProducts to the policy" in caplog.text
