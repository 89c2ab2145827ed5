"""Offers are the region's sizes that meet a request, at DigitalOcean's own prices."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.digitalocean.catalogue import sizes
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward._rest.structure import structured
from skyward.spi import ComputeSpec, Offer
from skyward_digitalocean._offers import GpuInfo, Size, Vram, accelerator_of, offers_of

SIZES = [structured(each, Size) for each in sizes().values()]


def offered(region: str = "nyc1", **wanted: Any) -> list[Offer]:
    if "accelerator" in wanted:
        wanted["accelerator"] = sky.Accelerator.parse(wanted["accelerator"])
    spec = ComputeSpec(nodes=1, image=sky.Image(), **wanted)
    return offers_of(SIZES, spec, provider="DigitalOcean", region=region)


def slugs(*args: Any, **wanted: Any) -> list[str]:
    return [offer.instance_type for offer in offered(*args, **wanted)]


def test_the_cheapest_that_is_large_enough_for_python_comes_first_and_the_dearest_are_left_out() -> None:
    assert slugs() == ["s-2vcpu-4gb", "c-2", "s-4vcpu-8gb", "g-2vcpu-8gb", "m-2vcpu-16gb"]
    assert slugs("nyc3", cpu=16) == ["c-32"]
    assert slugs(cpu=16) == []


def test_an_offer_tells_price_and_what_it_has() -> None:
    [offer] = offered(machine="s-2vcpu-4gb")
    assert (offer.price, offer.on_demand_price, offer.market) == (0.03571, 0.03571, "on-demand")
    assert (offer.vcpu, offer.memory_gb, offer.region, offer.accelerator) == (2, 4.0, "nyc1", None)


def test_what_is_billed_at_least_is_a_minute_or_a_cent_whichever_is_more() -> None:
    [cheap], [dear] = offered(machine="s-2vcpu-4gb"), offered(machine="gpu-h100x1-80gb")
    assert cheap.billing_minimum == pytest.approx(0.01 / 0.03571 * 3600)
    assert (dear.billing_minimum, dear.billing_quantum) == (60.0, 1.0)


@pytest.mark.parametrize(
    ("wanted", "slug", "found", "image"),
    [
        ("RTX-4000-Ada", "gpu-4000adax1-20gb", "RTX-4000-Ada", "gpu-h100x1-base"),
        ("L40S", "gpu-l40sx1-48gb", "L40S", "gpu-h100x1-base"),
        ("H100", "gpu-h100x1-80gb", "H100-80GB", "gpu-h100x1-base"),
        ("H100:8", "gpu-h100x8-640gb", "H100-80GB:8", "gpu-h100x8-base"),
        ("H200", "gpu-h200x1-141gb", "H200", "gpu-h100x1-base"),
        ("MI300X", "gpu-mi300x1-192gb", "MI300X", "gpu-amd-base"),
    ],
)
def test_gpus_are_those_of_the_catalogue_and_their_droplets_boot_with_drivers(
    wanted: str, slug: str, found: str, image: str
) -> None:
    first = offered(accelerator=wanted)[0]
    assert (first.instance_type, str(first.accelerator), first.details["image"]) == (slug, found, image)


def test_one_gpu_may_come_as_several_if_that_is_not_far_dearer() -> None:
    assert slugs(accelerator="H100") == ["gpu-h100x1-80gb"]
    assert slugs(accelerator="H100:2") == ["gpu-h100x8-640gb"]


def test_what_is_not_sold_in_the_region_or_not_at_all_is_no_offer() -> None:
    assert slugs("fra1", accelerator="H100") == []
    assert slugs(accelerator="RTX-6000-Ada") == [], "it is listed without a region"
    assert slugs(accelerator="B300") == [], "it is not available"


def test_sizes_that_can_be_taken_back_or_need_a_contract_are_offered_by_name_alone() -> None:
    assert slugs(accelerator="MI350X") == []
    assert slugs(machine="gpu-mi350x1-288gb-spot") == ["gpu-mi350x1-288gb-spot"]
    assert "gpu-h100x8-640gb-contracted" not in slugs(accelerator="H100:8")


def test_gpus_that_nobody_has_asked_for_and_unknown_ones_come_by_name_alone() -> None:
    assert not [slug for slug in slugs() if slug.startswith("gpu-")]
    [known], [unknown] = offered(machine="gpu-h100x1-80gb"), offered(machine="gpu-next1-999gb")
    assert (str(known.accelerator), unknown.accelerator) == ("H100-80GB", None)
    assert unknown.details["image"] == "gpu-h100x1-base"


def test_a_machine_by_name_need_not_be_large_and_must_meet_what_else_is_asked_for() -> None:
    assert slugs(machine="s-1vcpu-512mb-10gb") == ["s-1vcpu-512mb-10gb"]
    assert slugs(machine="s-1vcpu-512mb-10gb", cpu=2) == []
    assert slugs(machine="no-such-size") == []


def test_a_model_whose_memory_is_told_in_another_way_is_known_all_the_same() -> None:
    told = accelerator_of(GpuInfo(count=2, model="nvidia_b300", vram=Vram(268, "gib")))
    assert str(told) == "B300:2"
    assert accelerator_of(GpuInfo(count=0, model="nvidia_h100")) is None
    assert accelerator_of(None) is None


@given(
    st.lists(st.sampled_from(SIZES), max_size=12, unique=True),
    st.sampled_from(["nyc1", "tor1", "fra1"]),
    st.none() | st.integers(1, 64),
    st.none() | st.floats(0.5, 300),
    st.none() | st.sampled_from(["H100", "L40S", "MI300X", "H100:8"]),
)
def test_every_offer_meets_the_request(
    some: list[Size], region: str, cpu: int | None, memory: float | None, accelerator: str | None
) -> None:
    wanted = None if accelerator is None else sky.Accelerator.parse(accelerator)
    spec = ComputeSpec(nodes=1, image=sky.Image(), cpu=cpu, memory_gb=memory, accelerator=wanted)
    found = offers_of(some, spec, provider="DigitalOcean", region=region)
    assert [offer.price for offer in found] == sorted(offer.price or 0.0 for offer in found)
    for offer in found:
        assert offer.vcpu >= (cpu or 2)
        assert offer.memory_gb >= (memory or 3.5)
        assert (offer.accelerator is None) == (wanted is None)
        assert wanted is None or (offer.accelerator is not None and offer.accelerator.satisfies(wanted))
