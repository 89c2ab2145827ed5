"""The page on RunPod has what there is: the settings with their defaults, and the words of the errors."""

from __future__ import annotations

import attrs
import pytest
from fakes.pages import VendorPage

from skyward_runpod import RunPod, _pods
from skyward_runpod._settings import ENDPOINT

PAGE = VendorPage("runpod", "skyward-core/src/skyward/_options.py")


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    defaults = {"endpoint": ENDPOINT}
    there = [(field.name, defaults.get(field.name, field.default)) for field in attrs.fields(RunPod)]
    assert PAGE.settings() == there


def test_the_images_are_those_that_are_used() -> None:
    assert [name.strip("`") for _, name in PAGE.rows("for")] == [_pods.CUDA_IMAGE, _pods.CPU_IMAGE]


@pytest.mark.parametrize("error", PAGE.explained())
def test_an_error_that_is_explained_is_one_that_can_come(error: str) -> None:
    assert PAGE.can_come(error)
