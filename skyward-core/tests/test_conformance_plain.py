"""How the kit finds a secret in a text."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.testing.conformance._plain import tells

TOKENS = st.binary(min_size=32, max_size=32)
RANDOM = st.integers(min_value=0).map(lambda seed: random.Random(seed).randbytes(32))  # as tokens are


def within(token: bytes) -> list[Any]:
    return [token]


def within_a_text(token: bytes) -> dict[str, list[str]]:
    return {"labels": [repr(token)]}


def within_two_texts(token: bytes) -> list[str]:
    return [f"it's {[repr(token)]!r}"]


@pytest.mark.parametrize("put", [repr, within, within_a_text, within_two_texts])
@given(token=TOKENS)
def test_a_token_is_found_however_deep_in_reprs_it_stands(put: Any, token: bytes) -> None:
    assert tells(f"Instance(details={put(token)!r})", token)


@given(token=TOKENS)
def test_an_encoded_token_is_found(token: bytes) -> None:
    for form in (token.hex(), base64.b64encode(token).decode(), base64.urlsafe_b64encode(token).decode().strip("=")):
        assert tells(f"key={form};", token)


@given(token=RANDOM, other=RANDOM)
def test_another_token_is_not_taken_for_it(token: bytes, other: bytes) -> None:
    assert tells(f"{other!r} {other.hex()}", token) == (token == other)
