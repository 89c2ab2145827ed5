"""Text for a terminal or a log: harmless, short, and the same everywhere."""

from __future__ import annotations

import re

__all__ = ["clean", "count", "duration", "encodable", "money", "tame"]

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, erasing
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # the rest
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
# Control characters but the tab, those that reorder what is shown, and halves of characters that cannot be encoded.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Make one line of ``text`` that cannot move the cursor, set colours or reorder what is shown. Tabs stay."""
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text)
    text = _LINE_ENDS.sub(" ", text.strip("\r\n"))
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def tame(text: str) -> str:
    """Take from ``text`` what moves the cursor or clears; colours and line ends stay."""
    if "\x1b" not in text and "\x9b" not in text:
        return text
    kept = _ESCAPES.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)
    return f"{kept}\x1b[0m" if "\x1b" in kept else kept


def encodable(text: str, encoding: str | None) -> str:
    """Escape what ``encoding`` has no bytes for."""
    name = encoding or "ascii"
    return text.encode(name, "backslashreplace").decode(name)


def duration(seconds: float) -> str:
    """``12ms``, ``2.3s``, ``45s``, ``12m 05s`` or ``3h 10m``."""
    seconds = max(seconds, 0.0)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def money(dollars: float) -> str:
    """``$12.30``; four digits behind the point where it is less than a dollar."""
    sign = "-" if dollars < 0 else ""
    amount = abs(dollars)
    return f"{sign}${amount:.2f}" if amount == 0 or amount >= 0.99995 else f"{sign}${amount:.4f}"


def count(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
