"""Small judgements over what a provider tells: plain values, numbers, secrets."""

from __future__ import annotations

import base64
import contextlib
import logging
import math
from collections.abc import Generator, Mapping
from typing import cast

__all__ = ["is_figure", "is_plain", "overheard", "tells"]


def is_plain(value: object) -> bool:
    """Whether a value is made of strings, numbers, booleans, bytes, None, and lists, tuples and mappings of them."""
    if value is None or isinstance(value, (str, int, float, bool, bytes)):
        return True
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return all(isinstance(key, str) and is_plain(each) for key, each in pairs.items())
    return isinstance(value, (list, tuple)) and all(map(is_plain, cast("list[object]", value)))


def is_figure(value: object, least: float = 0.0) -> bool:
    """Whether this is a finite number of at least ``least``."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def tells(text: str, secret: bytes) -> bool:
    """Whether a text has the secret in one of the forms in which secrets slip out."""
    forms = [secret.hex(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()]
    once = text.replace("\\\\", "\\")  # a repr inside of another one doubles its backslashes
    return any(form.strip("=") in seen for form in [*forms, repr(secret)[2:-1]] for seen in (text, once))


@contextlib.contextmanager
def overheard() -> Generator[list[str]]:
    """Collect every log record of the process meanwhile, as text, whatever its level."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name}: {self.format(record)}")

    ear, root = Ear(logging.NOTSET), logging.getLogger()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.NOTSET)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(ear)
