"""The page on Verda has what there is: the settings with their defaults, and the words of the errors."""

from __future__ import annotations

import attrs
import pytest
from fakes.pages import VendorPage

from skyward_verda import Verda
from skyward_verda._settings import ENDPOINT

PAGE = VendorPage("verda", "skyward-core/src/skyward/_rest/creating.py", "skyward-core/src/skyward/_rest/ending.py")


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    defaults = {"endpoint": ENDPOINT}
    there = [(field.name, defaults.get(field.name, field.default)) for field in attrs.fields(Verda)]
    assert PAGE.settings() == there


@pytest.mark.parametrize("error", PAGE.explained())
def test_an_error_that_is_explained_is_one_that_can_come(error: str) -> None:
    assert PAGE.can_come(error)
