"""The one sentence that offers near matches for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``": did you mean 'x'?"`` or, with nothing near, ``"; choose from a, b, c"``."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return ": did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "; choose from " + ", ".join(names) if names else ""
