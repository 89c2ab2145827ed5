"""Credentials in URLs and in a program's output: taken apart, and hidden wherever something is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

__all__ = ["HIDDEN", "SplitUrl", "redact", "split_credentials"]

HIDDEN = "***"

# Up to the last "@" of the host's part: a password that nobody has encoded may hold one.
_USERINFO = re.compile(r"(?<=://)[^/?#\s'\"]+(?=@)")
# A value this short is too likely to stand in innocent text ("1", "info") for hiding it to help anybody.
_SHORTEST_SECRET = 6


class SplitUrl(NamedTuple):
    """A URL without its credentials, and the credentials, percent-decoded; ``None`` where there is none."""

    url: str
    username: str | None
    password: str | None


def split_credentials(url: str) -> SplitUrl:
    """``https://user:word@host/simple`` -> ``https://host/simple``, ``user``, ``word``."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return SplitUrl(url, None, None)
    username, colon, password = userinfo.partition(":")
    clean = urlunsplit(parts._replace(netloc=host))
    return SplitUrl(clean, unquote(username), unquote(password) if colon else None)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with the credentials of every URL hidden, and with each of ``secrets`` of six characters or more."""
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _USERINFO.sub(HIDDEN, text)
