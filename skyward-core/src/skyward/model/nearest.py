"""The one sentence that offers near matches for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``": did you mean 'x'?"`` or, with nothing near, ``"; choose from a, b, c"``.

    Case does not count when names are compared. At most three are offered, the nearest first.
    """
    from difflib import get_close_matches

    names = sorted(known)
    by_fold: dict[str, list[str]] = {}
    for each in names:
        by_fold.setdefault(each.casefold(), []).append(each)
    near = [each for fold in get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.5) for each in by_fold[fold]][:3]
    if near:
        return ": did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "; choose from " + ", ".join(names) if names else ""
