"""What an image leaves open of a package gets the version that an integration pins; what it says itself stands."""

from __future__ import annotations

import pytest

from skyward._supplying import together_with
from skyward.model.image import Image
from skyward.model.supplies import Supplies


def installed(own: list[str], supplied: str) -> tuple[str, ...]:
    return together_with(Image(pip=own), [("acme", Supplies(pip=[supplied]))]).pip


@pytest.mark.parametrize("own", ["joblib", "JobLib", "joblib>=1.4", "joblib[extra]", "joblib!=1.5.0,<2"])
def test_a_version_that_the_image_takes_is_pinned_beside_its_own_requirement(own: str) -> None:
    assert installed([own, "numpy"], "joblib==1.6.0") == (own, "numpy", "joblib==1.6.0")


@pytest.mark.parametrize(
    "own",
    ["joblib==1.5.0", "joblib==1.6.0", "joblib<1.6", "joblib @ https://example.org/joblib-1.6.0-py3-none-any.whl"],
)
def test_what_fixes_or_excludes_the_version_stands_alone(own: str) -> None:
    assert installed([own], "joblib==1.6.0") == (own,)


@pytest.mark.parametrize("supplied", ["joblib", "joblib>=1.4", "joblib==1.*"])
def test_a_range_is_not_added_to_what_the_image_names(supplied: str) -> None:
    assert installed(["joblib"], supplied) == ("joblib",)


def test_one_of_several_requirements_of_the_image_that_excludes_the_version_is_enough() -> None:
    assert installed(["joblib", "joblib<1.6"], "joblib==1.6.0") == ("joblib", "joblib<1.6")
