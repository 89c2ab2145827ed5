"""What is suggested for a name that nobody knows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skyward.model.nearest import did_you_mean, near_matches


def test_near_matches_do_not_go_by_case_and_are_three_at_most() -> None:
    known = ["AWS", "spot", "SPOT", "pool", "spots", "spoty"]
    assert near_matches("aws", known) == ["AWS"]
    assert set(near_matches("Spot", known)[:2]) == {"spot", "SPOT"}
    assert len(near_matches("spot", known)) == 3
    assert did_you_mean("awz", known) == ": did you mean 'AWS'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; choose from a, b"
    assert did_you_mean("zzz", []) == ""


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=10), max_size=8))
def test_near_matches_are_always_known_names(name: str, known: list[str]) -> None:
    assert set(near_matches(name, known)) <= set(known)
