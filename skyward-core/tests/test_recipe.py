"""A provider's settings are told to a ledger without secrets, and made again from it only as they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward._ledger import fingerprint
from skyward._recipe import made_again, recipe
from skyward.testing import FakeCloud


@attrs.frozen
class Settings:
    region: str | None = None
    zones: tuple[str, ...] = ()
    price: float = 1.0
    count: int = 3
    _inner: int = 0
    tags: dict[str, str] = attrs.field(factory=dict, hash=False)
    api_key: str | None = None
    hidden: str = attrs.field(default="", repr=False)


@dataclass(frozen=True)
class Plain:
    region: str = "here"
    password: str = field(default="", repr=False)


def again(settings: Any) -> Any:
    return made_again(type(settings), recipe(settings), fingerprint(settings))


PLAIN = [
    sky.Local(),
    Settings(),
    Settings("there", ("a", "b"), 2.5, 4, 7),
    Settings(count=0),
    Plain(),
    Plain("there"),
]


@pytest.mark.parametrize("settings", PLAIN, ids=str)
def test_plain_settings_are_made_again(settings: Any) -> None:
    assert again(settings) == settings


@given(st.text(), st.lists(st.text(), max_size=3).map(tuple), st.floats(allow_nan=False), st.integers())
def test_any_plain_values_will_do(region: str, zones: tuple[str, ...], price: float, count: int) -> None:
    settings = Settings(region, zones, price, count)
    if text := recipe(settings):
        assert made_again(Settings, text, fingerprint(settings)) == settings
    else:
        assert "@" in region + "".join(zones)


SECRET = [
    Settings(api_key="hunter22"),
    Settings(hidden="hunter22"),
    Settings(region="https://me:hunter22@there"),
    Settings(tags={"a": "b"}),
    Plain(password="hunter22"),
    FakeCloud(nodes="simulated").provider,
    object(),
]


@pytest.mark.parametrize("settings", SECRET, ids=lambda each: type(each).__name__)
def test_what_may_be_secret_or_is_not_plain_is_not_told(settings: Any) -> None:
    assert recipe(settings) == ""
    assert made_again(type(settings), "", fingerprint(settings)) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"region": "elsewhere"}', '{"unknown": 1}', '{"count": [1, [2]]}', "null"]
)
def test_a_recipe_that_leads_elsewhere_or_nowhere_gives_nothing(text: str) -> None:
    assert made_again(Settings, text, fingerprint(Settings("there"))) is None
