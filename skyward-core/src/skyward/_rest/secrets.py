"""Striking credentials out of whatever is said. Pure but for what it has been told."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skyward.model.redact import HIDDEN, redact

__all__ = ["LONGEST", "Secrets"]

LONGEST = 300
"""Characters of a vendor's own words that a message holds."""
_SHORTEST = 6
_LINE = 16
# No vendor speaks in words so long: what is, is a token, a key, or data that somebody has encoded; or else a path.
_OPAQUE = re.compile(r"(?<![\w/.+=-])[\w+=-][\w+/=-]{64,}", re.ASCII)
# Of Authorization and the like: the scheme is no secret.
_SCHEMES = {"bearer", "basic", "token", "apikey"}


class Secrets:
    """The credentials that one client knows of."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self.add(*known)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._known)})"

    def add(self, *secrets: str) -> None:
        """Take these for secrets from now on: whole, by their words, and by their lines, as of a private key."""
        for secret in secrets:
            parts = [part for part in secret.split() if part.lower() not in _SCHEMES]
            lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
            found = [secret.strip(), *(line for line in lines if len(line) >= _LINE and "-----" not in line)]
            found += parts if len(lines) < 2 and len(parts) <= 2 else []
            self._known.update(each for each in found if len(each) >= _SHORTEST)

    def strike(self, text: str) -> str:
        """The text without them, and without anything else that looks like a credential."""
        return _OPAQUE.sub(HIDDEN, redact(text, self._known))

    def cut(self, text: str) -> str:
        """The same in one line, of `LONGEST` characters at most."""
        line = " ".join(_printable(self.strike(text)).split())
        return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

    def clean(self, text: str) -> str:
        """The same of a whole message, of which a vendor's words are a part: four times as long at most."""
        line = _printable(self.strike(text))
        return line if len(line) <= 4 * LONGEST else line[: 4 * LONGEST - 1] + "…"


def _printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
