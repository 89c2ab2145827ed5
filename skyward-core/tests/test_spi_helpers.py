"""What providers check settings with, and choose by from what is sold."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import field, frozen

import skyward as sky
from skyward.spi import ComputeSpec, Offer, cheapest_first, is_number, is_text, is_truth, meets


@frozen(kw_only=True)
class Settings:
    region: str = field(default="moon-1", validator=is_text(r"[a-z]+-\d", "the name of a region", "moon-1"))
    image: str | None = field(default=None, validator=is_text(r"\w+", "a word"))
    disk_gb: int = field(default=64, validator=is_number("a number of GB", 1, 65_536, whole=True))
    most: float | None = field(default=None, validator=is_number("a number of dollars", 0.001, 2_500_000))
    public: bool = field(default=True, validator=is_truth)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"region": "moon-12"}, "region must be the name of a region, not 'moon-12': write for example 'moon-1'"),
        ({"region": None}, "region must be the name of a region, not None: write for example 'moon-1'"),
        ({"region": "moon-1\n"}, "region must be the name of a region, not 'moon-1\\n': write for example 'moon-1'"),
        ({"image": "two words"}, "image must be a word, not 'two words'"),
        ({"disk_gb": 0}, "disk_gb must be a number of GB from 1 to 65536, not 0"),
        ({"disk_gb": True}, "disk_gb must be a number of GB from 1 to 65536, not True"),
        ({"disk_gb": 1.5}, "disk_gb must be a number of GB from 1 to 65536, not 1.5"),
        ({"disk_gb": None}, "disk_gb must be a number of GB from 1 to 65536, not None"),
        ({"most": 2_500_001}, "most must be a number of dollars from 0.001 to 2500000, not 2500001"),
        ({"most": float("nan")}, "most must be a number of dollars from 0.001 to 2500000, not nan"),
        ({"public": 1}, "public must be True or False, not 1"),
    ],
)
def test_a_setting_that_is_none_is_told_with_what_it_must_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(sky.ConfigurationError) as caught:
        Settings(**wrong)
    assert str(caught.value) == said


def test_what_is_valid_passes_and_so_does_nothing_where_it_is_the_default() -> None:
    Settings(region="mars-2", image="ubuntu", disk_gb=65_536, most=0.001, public=False)
    Settings(image=None, most=None)


def fits(spec: dict[str, Any], **machine: Any) -> bool:
    given = {"vcpu": 8, "memory_gb": 32.0, "accelerator": None, **machine}
    return meets(ComputeSpec(**{"nodes": 1, "image": sky.Image(), **spec}), "m8", **given)


@pytest.mark.parametrize(
    ("spec", "machine", "expected"),
    [
        ({}, {}, True),
        ({}, {"vcpu": 2, "memory_gb": 3.5}, True),
        ({}, {"vcpu": 1}, False),
        ({}, {"memory_gb": 3}, False),
        ({"cpu": 1, "memory_gb": 1}, {"vcpu": 1, "memory_gb": 1}, True),
        ({"cpu": 9}, {}, False),
        ({"memory_gb": 33}, {}, False),
        ({"machine": "m8"}, {"vcpu": 1, "memory_gb": 0.5}, True),
        ({"machine": "m8", "cpu": 9}, {}, False),
        ({"machine": "m9"}, {}, False),
        ({}, {"accelerator": sky.Accelerator("T4")}, False),
        ({}, {"devices": True}, False),
        ({"machine": "m8"}, {"devices": True}, True),
        ({"accelerator": sky.Accelerator("T4")}, {"accelerator": sky.Accelerator("T4", count=2)}, True),
        ({"accelerator": sky.Accelerator("T4", count=2)}, {"accelerator": sky.Accelerator("T4")}, False),
        ({"accelerator": sky.Accelerator("T4")}, {"devices": True}, False),
        ({"accelerator": sky.Accelerator("T4")}, {}, False),
    ],
)
def test_a_machine_does_for_a_request(spec: dict[str, Any], machine: dict[str, Any], expected: bool) -> None:
    assert fits(spec, **machine) is expected


def offer(name: str, price: float | None, on_demand: float | None, **more: Any) -> Offer:
    return Offer(provider="P", instance_type=name, region="r", price=price, on_demand_price=on_demand, **more)


def test_the_cheapest_comes_first_the_unknown_last_and_what_is_far_dearer_not_at_all() -> None:
    offers = [
        offer("large", None, None, vcpu=64),
        offer("small", None, None, vcpu=2),
        offer("dear", 4.0, 4.0),
        offer("dearer", 4.1, 4.1),
        offer("cheap spot of a dear one", 0.1, 8.0),
        offer("cheap", 1.0, 1.0),
        offer("spot", 0.5, 2.0, market="spot"),
    ]
    assert [each.instance_type for each in cheapest_first(offers)] == ["spot", "cheap", "dear", "small", "large"]
    assert cheapest_first([]) == []
