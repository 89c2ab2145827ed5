from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.errors import ConfigurationError
from skyward.model.memory import parse_memory


@pytest.mark.parametrize(
    ("text", "gb"),
    [
        ("32GB", 32.0),
        ("512MB", 0.512),
        ("1.5TB", 1500.0),
        ("64GiB", 68.719476736),
        ("1024MiB", 1.073741824),
        ("2TiB", 2199.023255552),
        (" 32 gb ", 32.0),
    ],
)
def test_an_amount_is_read_in_decimal_gb(text: str, gb: float) -> None:
    assert parse_memory(text) == pytest.approx(gb, rel=1e-12)


@given(st.integers(1, 10**6))
def test_whole_gb_are_exact_and_a_gib_is_more_than_a_gb(amount: int) -> None:
    assert parse_memory(f"{amount}GB") == amount
    assert parse_memory(f"{amount}GiB") > amount


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("32", "has no unit; write '32GB'"),
        (32, "has no unit; write '32GB'"),
        ("32G", "write '32GB'"),
        ("32GBs", "write '32GB'"),
        ("64Gi", "write '64GiB'"),
        ("32 parsecs", "unknown unit 'parsecs'"),
        ("0GB", "more than zero"),
        ("-4GB", "write for example '32GB'"),
        ("4e3GB", "write for example '32GB'"),
        ("nanGB", "write for example '32GB'"),
        ("lots", "write for example '32GB'"),
        ("", "write for example '32GB'"),
        (None, "write for example '32GB'"),
    ],
)
def test_what_is_no_amount_is_refused_with_the_remedy(text: object, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_memory(text)  # type: ignore[arg-type]
    assert remedy in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigurationError):
        assert parse_memory(text) > 0
