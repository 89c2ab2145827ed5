"""The page on Vast.ai has what there is: the settings with their defaults, and the words of the errors."""

from __future__ import annotations

import attrs
import pytest
from fakes.pages import VendorPage

from skyward_vastai import VastAI

PAGE = VendorPage("vastai")


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    assert PAGE.settings() == [(field.name, field.default) for field in attrs.fields(VastAI)]


@pytest.mark.parametrize("error", PAGE.explained())
def test_an_error_that_is_explained_is_one_that_can_come(error: str) -> None:
    assert PAGE.can_come(error)
