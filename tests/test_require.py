"""The fixture ``require``: a missing part is named, and under ``CI=true`` it is a failure."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def outside(require: Any) -> Any:
    return type(require)({})


@pytest.fixture
def inside(require: Any) -> Any:
    return type(require)({"CI": "true"})


def test_a_part_that_is_there_changes_nothing(outside: Any, inside: Any) -> None:
    for require in (outside, inside):
        require(True, "something")
        require.module("json")
        assert require.command("sh").endswith("/sh")


def test_a_missing_part_skips_and_is_named(outside: Any) -> None:
    with pytest.raises(pytest.skip.Exception, match="the program no-such-program on PATH"):
        outside.command("no-such-program")


def test_in_ci_a_missing_part_fails_and_is_named(inside: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match="the Python module no_such_module"):
        inside.module("no_such_module")


def test_what_cannot_be_had_in_ci_skips_there_too(inside: Any) -> None:
    with pytest.raises(pytest.skip.Exception, match="an NVIDIA GPU"):
        inside(False, "an NVIDIA GPU", ci=False)
