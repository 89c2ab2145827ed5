"""A vendor's JSON as values: unknown fields are left aside, and what is missing is named."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

__all__ = ["KEY", "Misfit", "structured"]

KEY = "key"
"""In the metadata of a field: its name in the JSON, where that is neither the field's own nor that in camel case."""


class Misfit(ValueError):
    """JSON that is not what it should be; says which field, by its path, and never its value."""


def structured[T](body: object, into: type[T]) -> T:
    """A value of the JSON.

    Fields that a class does not have are left aside, ``null`` counts as missing where a field has a default, and
    ``max_count`` is found as ``maxCount`` too. Numbers may be written as text, and ids as numbers. Nothing else is
    bent: ``null`` is no text, and text is no list.

    Raises:
        Misfit: a field is missing or of another kind.
    """
    try:
        return _converter().structure(body, into)
    except NameError:  # a class whose hints cannot be resolved is a mistake of whoever wrote it
        raise
    except Exception as error:  # noqa: BLE001  cattrs lets the errors of its parts through
        told = cattrs.transform_error(error, path="$", format_exception=_said)
        raise Misfit("; ".join(told[:5])) from None


def _said(error: BaseException, expected: Any) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0] if error.args else 'a field'} is missing"
    if str(error).startswith("no "):
        return f"it is {error}"
    return f"it is no {getattr(expected, '__name__', expected)}"


@functools.cache
def _converter() -> cattrs.Converter:
    made = cattrs.Converter(detailed_validation=True)
    made.register_structure_hook(str, _text)
    made.register_structure_hook(bool, _truth)
    made.register_structure_hook(int, _whole)
    made.register_structure_hook(float, _number)
    made.register_structure_hook_factory(attrs.has, functools.partial(_class, made))
    return made


def _class(made: cattrs.Converter, kind: type[attrs.AttrsInstance]) -> Callable[[Any, Any], Any]:
    attrs.resolve_types(kind)
    fields = [each for each in attrs.fields(kind) if each.init]
    names = {each.name: str(each.metadata.get(KEY, each.name)) for each in fields}
    renamed = {name: override(rename=key) for name, key in names.items()}
    build = make_dict_structure_fn(kind, made, **renamed)  # type: ignore[arg-type]  # it takes other arguments by name

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError("no object")
        found = dict(value)
        for each in fields:
            key = names[each.name]
            if key not in found and _camel(key) in found:
                found[key] = found[_camel(key)]
            if found.get(key, ...) is None and each.default is not attrs.NOTHING:
                del found[key]
        return build(found, kind)

    return hook


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise TypeError("no text")


def _truth(value: Any, _: Any) -> bool:
    if value in (True, False) and isinstance(value, (bool, int)):
        return bool(value)
    raise TypeError("no truth value")


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError("no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


def _whole(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return int(value)
    number = _number(value, float)
    if number != int(number):
        raise ValueError("no whole number")
    return int(number)
