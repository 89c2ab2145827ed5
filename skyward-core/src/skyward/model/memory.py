"""Amounts of memory as people write them.

``GB`` is decimal (10**9 bytes) and ``GiB`` binary (2**30 bytes), as the SI and IEC 80000-13 define them. A machine that
a cloud sells with 32 GiB therefore meets a request for ``"32GB"``.
"""

from __future__ import annotations

import difflib
import re

from skyward.errors import ConfigurationError

__all__ = ["parse_memory"]

_GB_PER_UNIT = {
    "MB": 1e-3,
    "GB": 1.0,
    "TB": 1e3,
    "MiB": 2**20 / 1e9,
    "GiB": 2**30 / 1e9,
    "TiB": 2**40 / 1e9,
}
_BY_WORD = {unit.casefold(): unit for unit in _GB_PER_UNIT}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)


def parse_memory(value: str) -> float:
    """Read ``"32GB"``, ``"512MB"``, ``"1.5TB"`` or ``"64GiB"`` (case and a space do not matter) as GB of 10**9 bytes.

    Raises :class:`ConfigurationError` for anything else: a number without a unit, a unit of one letter (``g`` is
    binary to Docker and decimal to Kubernetes), zero, a negative amount.
    """
    found = _AMOUNT.fullmatch(str(value).strip())  # str(), so that 32 meets the remedy of "32": to write a unit
    if found is None:
        raise ConfigurationError(f"'{value}' is not an amount of memory; write for example '32GB', '512MB' or '64GiB'")
    number, word = found[1], found[2].casefold()
    if word not in _BY_WORD:
        near = difflib.get_close_matches(word, _BY_WORD, n=1) or ["gb"]
        fact = f"has an unknown unit '{found[2]}'" if word else "has no unit"
        raise ConfigurationError(
            f"memory '{value}' {fact}; write '{number}{_BY_WORD[near[0]]}' (units: {', '.join(_GB_PER_UNIT)})"
        )
    amount = float(number) * _GB_PER_UNIT[_BY_WORD[word]]
    if amount == 0:
        raise ConfigurationError(f"memory '{value}' is nothing; ask for more than zero, or leave memory out")
    return amount
