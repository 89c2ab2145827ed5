"""Finds what keeps an object from being pickled, and says where it stands and what to do about it."""

from __future__ import annotations

import functools
import itertools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from skyward.worker import remedies
from skyward.worker.codescan import globals_used
from skyward.worker.pickling import Pickler, by_reference

__all__ = ["Capture", "captured", "unpicklable_path"]

_NODES = 100_000
_PROBES = 2_000
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})


class Capture(NamedTuple):
    """A step from a function to what it carries along: the variable's name, and what it is to which function."""

    name: str
    where: str


type Step = str | Capture
type Way = list[tuple[Step, object]]


def unpicklable_path(obj: object, root: str) -> tuple[str, str] | None:
    """Where in ``obj`` the thing stands that cannot be pickled, and the reason with a remedy; ``None`` if all can be.

    The path starts with ``root`` and reads as Python where it can: ``result['model'].lock``. A variable that a function
    carries is named with the function: ``'db' (a global of train)``; with an empty ``root`` the path starts there.
    The search survives cycles and ends after a bounded number of steps, with a less exact path.
    """
    culprit, error = _try(obj)
    if error is None:
        return None
    if isinstance(error.__cause__, RecursionError) or isinstance(error, RecursionError):
        return _render(root, []), "it is nested too deeply to be pickled; flatten it, or send it in parts"
    way: Way | None = [] if culprit is obj else None
    if way is None and culprit is not None and _try(culprit)[1] is not None:
        way = _search(obj, culprit)
    if way is None:
        way, error = _descend(obj, error)
    for length, (_, owner) in enumerate(way[:-1], 1):
        if remedies.is_known(owner):  # say "thread", not the handle deep inside it
            way = way[:length]
            error = TypeError(f"cannot pickle '{type(owner).__name__}' object")
            break
    steps = [step for step, _ in way]
    context = "captured" if any(isinstance(step, Capture) for step in steps) else root.partition(" ")[0]
    return _render(root, steps), remedies.reason(way[-1][1] if way else obj, error, context)


def captured(function: types.FunctionType) -> Iterator[tuple[Capture, object]]:
    """What ``function`` carries along when it travels by value: closure, globals, defaults, attributes."""
    name = function.__name__
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Capture(variable, f"a variable that {name} closes over"), cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for variable, value in globals_used(function).items():
        yield Capture(variable, f"a global of {name}"), value
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    for variable, value in zip(positional[len(positional) - len(defaults) :], defaults, strict=True):
        yield Capture(variable, f"a default of {name}"), value
    for variable, value in (function.__kwdefaults__ or {}).items():
        yield Capture(variable, f"a default of {name}"), value
    for variable, value in function.__dict__.items():
        yield Capture(variable, f"an attribute of {name}"), value
    for variable, value in getattr(function, "__annotations__", {}).items():
        yield Capture(variable, f"an annotation of {name}"), value


class _Sink:
    @staticmethod
    def write(_data: object) -> int:
        return 0


def _try(obj: object) -> tuple[object, Exception | None]:
    """Pickle ``obj`` into nothing: the object at which that failed, and how."""
    pickler = Pickler(_Sink, lambda _: False)
    try:
        pickler.dump(obj)
    except Exception as error:  # noqa: BLE001  pickling runs the user's own code
        return pickler.last, error
    return None, None


def _search(root: object, culprit: object) -> Way | None:
    """Steps of a shortest way from ``root`` to the very object ``culprit``, if it is found."""
    seen: dict[int, object] = {id(root): root}  # holds the objects, so that no id is used twice
    came: dict[int, tuple[int, Step]] = {}
    waiting = deque([root])
    while waiting and len(seen) < _NODES:
        current = waiting.popleft()
        for step, child in _children(current):
            if type(child) in _ATOMS or id(child) in seen:
                continue
            seen[id(child)] = child
            came[id(child)] = (id(current), step)
            if child is culprit:
                return _walked(child, root, seen, came)
            waiting.append(child)
    return None


def _walked(end: object, start: object, seen: dict[int, object], came: dict[int, tuple[int, Step]]) -> Way:
    way: Way = []
    while end is not start:
        parent, step = came[id(end)]
        way.append((step, end))
        end = seen[parent]
    return way[::-1]


def _descend(obj: object, error: Exception) -> tuple[Way, Exception]:
    """Go from ``obj`` to a child that cannot be pickled, and on from there, as far as there is one."""
    way: Way = []
    probes = _PROBES
    seen = {id(obj)}
    while True:
        for step, child in _children(obj):
            if type(child) in _ATOMS or id(child) in seen:
                continue
            probes -= 1
            if probes < 0:
                return way, error
            failure = _try(child)[1]
            if failure is not None:
                seen.add(id(child))
                way.append((step, child))
                obj, error = child, failure
                break
        else:
            return way, error


def _children(obj: Any) -> Iterator[tuple[Step, object]]:
    """What pickling ``obj`` would pickle, each with the step that leads there."""
    try:
        if isinstance(obj, types.FunctionType):
            if not by_reference(obj):
                yield from captured(obj)
        elif isinstance(obj, (type, types.ModuleType)):
            if not by_reference(obj):
                yield from ((f".{name}", value) for name, value in list(vars(obj).items()))
        else:
            yield from _parts(obj)
    except Exception:  # noqa: BLE001  a user's class may do anything when it is looked at
        return


def _parts(obj: Any) -> Iterator[tuple[Step, object]]:
    if isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
    elif isinstance(obj, functools.partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    elif isinstance(obj, (staticmethod, classmethod)):
        yield "", obj.__func__
    elif isinstance(obj, property):
        yield from (("", part) for part in (obj.fget, obj.fset, obj.fdel))
    elif isinstance(obj, types.CellType):
        yield "", obj.cell_contents
    elif isinstance(obj, dict):
        for key, value in list(obj.items()):
            yield f"[{_short(key)}]", value
            yield f" key {_short(key)}", key
    elif isinstance(obj, tuple) and hasattr(obj, "_fields"):
        yield from ((f".{name}", value) for name, value in zip(obj._fields, obj, strict=False))
    elif isinstance(obj, (list, tuple, deque)):
        yield from ((f"[{index}]", value) for index, value in enumerate(obj))
    elif isinstance(obj, (set, frozenset)):
        yield from ((f" item {_short(item)}", item) for item in obj)
    yield from _attributes(obj)
    yield from _reduced(obj)


def _attributes(obj: Any) -> Iterator[tuple[Step, object]]:
    yield from ((f".{name}", value) for name, value in list(getattr(obj, "__dict__", {}).items()))
    for kind in type(obj).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            if hasattr(obj, mangled) and not name.startswith("__weakref__"):
                yield f".{name}", getattr(obj, mangled)


def _reduced(obj: Any) -> Iterator[tuple[Step, object]]:
    """What the object's own way of pickling gives: the last resort, for its parts need not be attributes."""
    reduced: str | tuple[Any, ...] = obj.__reduce_ex__(5)
    if isinstance(reduced, str):
        return
    args, state, items, pairs = (*reduced[1:5], None, None, None)[:4]
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from ((f".{key}", value) for key, value in part.items())
        else:
            yield "", part
    yield from (("", argument) for argument in args)
    yield from ((f"[{index}]", item) for index, item in enumerate(itertools.islice(items or (), _NODES)))
    yield from ((f"[{_short(key)}]", value) for key, value in itertools.islice(pairs or (), _NODES))


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001  a key's repr is the user's own code
        return f"<{type(key).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _render(root: str, steps: list[Step]) -> str:
    segments = [(root, "")] if root else []
    for step in steps:
        if isinstance(step, Capture):
            segments.append((f"'{step.name}'", f" ({step.where})"))
        elif segments:
            text, where = segments[-1]
            segments[-1] = (text + step, where)
    return " -> ".join(text + where for text, where in segments)
