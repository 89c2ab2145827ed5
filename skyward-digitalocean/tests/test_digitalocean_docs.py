"""The page on DigitalOcean has what there is: settings with their defaults, scopes, and the words of the errors."""

from __future__ import annotations

import re

import attrs
import pytest
from fakes.digitalocean import DigitalOceanServer
from fakes.pages import VendorPage

from skyward_digitalocean import DigitalOcean
from skyward_digitalocean._settings import REGIONS

PAGE = VendorPage("digitalocean")


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    assert PAGE.settings() == [(field.name, field.default) for field in attrs.fields(DigitalOcean)]
    [region] = [meaning for name, _, meaning in PAGE.rows("setting") if name == "`region`"]
    assert tuple(re.findall(r"`(\w+)`", region)[: len(REGIONS)]) == REGIONS


@pytest.mark.parametrize("error", PAGE.explained())
def test_an_error_that_is_explained_is_one_that_can_come(error: str) -> None:
    assert PAGE.can_come(error)


def test_every_question_that_is_asked_has_a_scope_on_the_page() -> None:
    """Each route of the fake is one that the package asks, since the other tests ask it of no other."""
    actions = {"GET": "read", "POST": "create", "DELETE": "delete"}
    things = {"droplets": "droplet", "tags": "tag", "vpcs": "vpc"}
    for each in DigitalOceanServer._routes:
        path = re.sub(r"\(\?P<\w+>[^)]+\)", "x", each.pattern.pattern).split("/")[2:]
        thing = "ssh_key" if path[:2] == ["account", "keys"] else things.get(path[0], path[0])
        action = "create" if path[-1] == "resources" and each.method == "POST" else actions[each.method]
        assert f"`{thing}:{action}`" in PAGE.text, each
