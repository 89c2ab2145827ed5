"""What a function carries along when it travels by value: whether it is still the same, and how large it is."""

from __future__ import annotations

import logging
import re
import sys
import types
from operator import is_
from typing import TYPE_CHECKING, Any

from skyward.worker.codescan import global_names
from skyward.worker.pickling import Pickler, by_reference, settle
from skyward.worker.unpicklable import Capture, captured

if TYPE_CHECKING:
    from skyward.function import ComputeFunction

__all__ = ["Watch", "heavy"]

_ABSENT = object()
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, range, type(...), re.Pattern, logging.Logger})
_CONTAINERS = frozenset({tuple, frozenset, list, dict, set})
_DEPTH = 50
_ITEMS = 256


class Watch:
    """Tells in about a microsecond that a function's pickle would still be the same.

    That is possible where everything that the function captures, at any depth, is immutable, a short built-in container
    or referred to by name: then nothing but a rebinding can change the pickle, and rebindings show by identity.
    ``Watch.of`` gives ``None`` where another mutable object is captured; annotations do not count.
    """

    __slots__ = ("_bindings", "_cells", "_containers", "_functions", "_loaded", "_seen")

    def __init__(self) -> None:
        self._bindings: list[tuple[dict[str, Any], str, object]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        self._containers: list[tuple[Any, tuple[object, ...]]] = []
        self._functions: list[tuple[types.FunctionType, object, object, object, int]] = []
        self._loaded: int | None = None
        self._seen: dict[int, object] = {}

    @classmethod
    def of(cls, function: ComputeFunction[..., Any]) -> Watch | None:
        watch = cls()
        return watch if watch._covers(function, 0) else None

    def holds(self) -> bool:
        """Whether nothing has been rebound."""
        for names, name, value in self._bindings:
            if names.get(name, _ABSENT) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for container, before in self._containers:
            now = _items(container)
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        for function, code, defaults, keywords, attributes in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keywords
                or len(function.__dict__) != attributes
            ):
                return False
        return self._loaded is None or self._loaded == len(sys.modules)

    def _covers(self, value: Any, depth: int) -> bool:
        """Add what there is to watch for ``value``; false if it can change without a rebinding."""
        kind = type(value)
        if kind in _ATOMS or id(value) in self._seen:
            return True
        if depth > _DEPTH:
            return False
        self._seen[id(value)] = value
        if kind in _CONTAINERS:
            return self._container(value, depth)
        if kind is types.FunctionType and not by_reference(value):
            return self._function(value, depth)
        if "__skyward_local__" in kind.__dict__:  # a compute function, but not one that is bound to an instance
            return self._compute_function(value, depth)
        return self._refers(value)

    def _container(self, value: Any, depth: int) -> bool:
        items = _items(value)
        if type(value) is not tuple and type(value) is not frozenset:
            if len(items) > _ITEMS:
                return False
            self._containers.append((value, items))
        return all(self._covers(item, depth + 1) for item in items)

    def _refers(self, value: Any) -> bool:
        """Add what there is to watch for a value that is pickled as a name; false if it is not."""
        if isinstance(value, types.BuiltinFunctionType):
            return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
        if isinstance(value, types.ModuleType):
            if hasattr(value, "__path__"):  # submodules that are loaded later count among what a function uses
                self._loaded = len(sys.modules)
            return by_reference(value) and self._bind(sys.modules, value.__name__, value)
        return isinstance(value, (type, types.FunctionType)) and by_reference(value) and self._named(value)

    def _bind(self, names: Any, name: str, value: object) -> bool:
        self._bindings.append((names, name, value))
        return True

    def _named(self, value: Any) -> bool:
        """``value`` is pickled as a name in its module, for as long as the module has it under that name."""
        module = sys.modules.get(value.__module__)
        name = value.__qualname__
        if module is None or vars(module).get(name) is not value:
            return False  # a name with dots, or one that is computed
        if module.__name__ == "builtins":
            return True
        return self._bind(sys.modules, value.__module__, module) and self._bind(vars(module), name, value)

    def _compute_function(self, value: ComputeFunction[..., Any], depth: int) -> bool:
        settle(getattr(value, "__module__", None))
        if isinstance(value.__reduce__(), str):
            return self._named(value)
        return (
            self._bind(vars(value), "fn", value.fn)
            and self._bind(vars(value), "retry", value.retry)
            and self._covers(value.fn, depth + 1)
        )

    def _function(self, function: types.FunctionType, depth: int) -> bool:
        keywords = function.__kwdefaults__
        attributes = function.__dict__
        self._functions.append((function, function.__code__, function.__defaults__, keywords, len(attributes)))
        parts: list[object] = [function.__defaults__]
        for names in (keywords or {}, attributes):
            parts.extend(names.values())
            self._bindings.extend((names, name, value) for name, value in names.items())
        everything = function.__globals__
        for name in global_names(function.__code__):
            value = everything.get(name, _ABSENT)
            self._bindings.append((everything, name, value))
            if value is not _ABSENT:
                parts.append(value)
        for cell in function.__closure__ or ():
            value = _content(cell)
            self._cells.append((cell, value))
            if value is not _ABSENT:
                parts.append(value)
        return all(self._covers(part, depth + 1) for part in parts)


def _items(container: Any) -> tuple[object, ...]:
    return (*container, *container.values()) if type(container) is dict else tuple(container)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


class _Scale:
    """Where a pickle is written to have its length taken."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: Any) -> int:
        self.bytes += len(data)
        return len(data)

    def keep(self, buffer: Any) -> bool:
        self.bytes += memoryview(buffer).nbytes
        return False


def heavy(function: object, least: int) -> list[tuple[Capture, int]]:
    """The variables of at least ``least`` bytes that ``function`` and the functions that it captures carry along.

    Largest first, each with its size when pickled. A variable that several functions use counts once.
    """
    found: list[tuple[Capture, int]] = []
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, types.FunctionType) or by_reference(current):
            continue
        for capture, value in captured(current):
            if id(value) in seen:
                continue
            seen.add(id(value))
            inner = value.fn if hasattr(type(value), "__skyward_local__") else value  # type: ignore[attr-defined]
            if isinstance(inner, types.FunctionType):
                waiting.append(inner)
                continue
            size = _size(value)
            if size >= least:
                found.append((capture, size))
    return sorted(found, key=lambda each: -each[1])


def _size(value: object) -> int:
    scale = _Scale()
    try:
        Pickler(scale, scale.keep).dump(value)
    except Exception:  # noqa: BLE001  the pickle of the whole has just succeeded: this is an estimate for a warning
        return 0
    return scale.bytes
