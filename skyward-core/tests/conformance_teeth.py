"""What the tests of the conformance kit share: running one of its tests by hand, and knowing them all."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from skyward.testing.conformance import Broken
from skyward.testing.conformance._kit import Conformance


def rules_of(kit: type[Conformance]) -> set[str]:
    """The names of the kit's tests."""
    return {name for name in dir(kit) if name.startswith("test_")}


def broken(case: Conformance, test: str, subject: object) -> str:
    """What the kit says of ``subject`` in this test, which must fail."""
    with pytest.raises(Broken) as caught:
        getattr(case, test)(subject)
    return str(caught.value)


def assert_bites(case: Conformance, test: str, subject: object, says: str) -> None:
    """The test fails for ``subject`` with a message of the form "fact; remedy" that says this."""
    message = broken(case, test, subject)
    assert re.search(says, message), message
    assert re.match(r"[^A-Z]", message) or re.match(r"\w+(\.|\(|'s| )", message), message
    assert ";" in message, message


def assert_every_rule_has_a_mutant(kit: type[Conformance], tested: Iterable[str]) -> None:
    """No test of the kit is without something that it catches."""
    assert rules_of(kit) == set(tested)
