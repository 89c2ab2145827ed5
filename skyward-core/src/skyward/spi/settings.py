"""Validators of a provider's settings, for ``attrs.field(validator=...)``.

``None`` passes where it is the default. What does not is a `ConfigurationError` that names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import Attribute

from skyward.errors import ConfigurationError

__all__ = ["is_number", "is_text", "is_truth"]

type _Validator = Callable[[Any, Attribute[Any], Any], None]


def is_text(pattern: str, what: str, example: str | None = None) -> _Validator:
    """Text that is wholly of a form.

    Args:
        pattern: the form, as a regular expression.
        what: what the setting must be, such as ``"the name of a region"``.
        example: one that will do; ``None`` where ``what`` says enough.
    """
    said = "" if example is None else f": write for example {example!r}"

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        del settings
        if value is None and attribute.default is None:
            return
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ConfigurationError(f"{attribute.name} must be {what}, not {value!r}{said}")

    return check


def is_number(what: str, least: float, most: float, *, whole: bool = False) -> _Validator:
    """A number from ``least`` to ``most``, both included.

    Args:
        what: with its unit, such as ``"a number of GB"``.
        least: the lowest.
        most: the highest.
        whole: whether it must be an ``int``.
    """
    kinds = (int,) if whole else (int, float)

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        del settings
        if value is None and attribute.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise ConfigurationError(f"{attribute.name} must be {what} from {least:.12g} to {most:.12g}, not {value!r}")

    return check


def is_truth(settings: object, attribute: Attribute[Any], value: object) -> None:
    """``True`` or ``False``, and nothing else that counts as such, as 0 and "no" do.

    It is itself the validator, without arguments.
    """
    del settings
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} must be True or False, not {value!r}")
