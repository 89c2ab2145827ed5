"""A provider's settings as text for a ledger, and made again from it: for whoever looks for what a dead client left.

Only what is plain and no secret becomes text; the settings of which anything else matters cannot be made again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from skyward._ledger import fingerprint
from skyward.model.redact import redact

__all__ = ["made_again", "recipe"]

_SECRET = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)


def recipe(settings: object) -> str:
    """The settings as text; empty where they cannot be told, or where some of them may be a secret."""
    if not (attrs.has(type(settings)) or dataclasses.is_dataclass(settings)):
        return ""
    told: dict[str, object] = {}
    for argument, value, default, shown in _fields(settings):
        if value == default and type(value) is type(default):
            continue
        if not shown or _SECRET.search(argument) or not _plain(value):
            return ""
        told[argument] = value
    text = json.dumps(told)
    return text if redact(text) == text else ""


def made_again(make: Callable[..., Any], text: str, mark: str) -> Any:
    """The settings that this text tells of; ``None`` where it does not lead to those with this `fingerprint`.

    Args:
        make: the provider's class.
        text: what `recipe` gave.
        mark: what `fingerprint` gave then.
    """
    if not text or not mark:
        return None
    try:
        arguments = {name: _tuples(value) for name, value in json.loads(text).items()}
        settings = make(**arguments)
    except Exception:  # noqa: BLE001  another version of the plugin, or no recipe at all: it is not these settings
        return None
    return settings if fingerprint(settings) == mark else None


def _fields(settings: object) -> Iterator[tuple[str, object, object, bool]]:
    """Of each argument that makes these settings: its name, its value, its default, and whether ``repr`` shows it."""
    kind: Any = type(settings)
    if attrs.has(kind):
        for each in attrs.fields(kind):
            if each.init:
                default: Any = each.default
                if isinstance(default, attrs.Factory) and not default.takes_self:  # type: ignore[arg-type]
                    default = default.factory()
                yield each.alias or each.name, getattr(settings, each.name), default, bool(each.repr)
        return
    for field in dataclasses.fields(kind):
        if field.init:
            yield field.name, getattr(settings, field.name), field.default, field.repr


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
