"""The one sentence that offers near matches for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "near_matches"]


def near_matches(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that look like ``name``, the nearest first. Case does not count."""
    from difflib import get_close_matches

    by_fold: dict[str, list[str]] = {}
    for each in sorted(known):
        by_fold.setdefault(each.casefold(), []).append(each)
    folds = get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.5)
    return [each for fold in folds for each in by_fold[fold]][:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``": did you mean 'x'?"`` or, with nothing near, ``"; choose from a, b, c"``."""
    names = sorted(known)
    near = near_matches(name, names)
    if near:
        return ": did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "; choose from " + ", ".join(names) if names else ""
