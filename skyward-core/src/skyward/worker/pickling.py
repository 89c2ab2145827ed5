"""Pickles for the wire: protocol 5, large buffers beside the pickle, functions by value where they must be.

What cannot be referred to by name (lambdas, what ``__main__`` defines) goes by value, through cloudpickle. The memory
of arrays is not copied: it is handed out as flat views, so it must not change until it has been sent.

A pickler that is given ``seen`` also notes the modules whose content the pickle refers to by name.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import types
from collections.abc import Buffer, Callable, Sequence
from typing import Any

import cloudpickle
from cloudpickle.cloudpickle import _should_pickle_by_reference, subimport

from skyward.worker import codescan

__all__ = ["OUT_OF_BAND", "Pickler", "by_reference", "dump_with", "dumps", "is_plain", "loads", "settle"]

OUT_OF_BAND = 4096
"""Bytes from which a buffer travels beside the pickle; below, one more part costs more than the copy."""

LARGE_BYTES = 64 * 1024
"""Size in bytes from which a ``bytes`` or ``bytearray`` at the top of a value is treated as a buffer."""

PROTOCOL = 5
_ATOMS = frozenset({type(None), bool, int, float, complex, str})
_HOW = frozenset({"class", "module", "custom"})
_settled: set[str] = set()
_PLAIN_ITEMS = 16
_PLAIN_DEPTH = 3

CLIENT_ONLY = {
    "ComputePool": "a pool lives on the client only; return the pending calls' inputs and dispatch them there",
    "MultiPool": "pools live on the client only; dispatch from there",
    "Executor": "an executor lives on the client only; submit from there",
    "PendingCompute": "a pending call is no result; dispatch it (`call >> pool`) and pass what that returns",
    "PendingBatch": "a pending batch is no result; dispatch it (`batch >> pool`) and pass what that returns",
}
"""Classes of skyward whose objects mean nothing on a node, and what to do instead."""


def is_plain(value: Any, depth: int = _PLAIN_DEPTH) -> bool:
    """Whether ``value`` is small and made of exact built-in types only, so that plain pickle gives the same.

    Long containers count as not plain: looking through them would cost more than it saves.
    """
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is bytes:
        return len(value) < OUT_OF_BAND
    if not depth or (kind is not tuple and kind is not list and kind is not dict) or len(value) > _PLAIN_ITEMS:
        return False
    for item in value:
        if type(item) not in _ATOMS and not is_plain(item, depth - 1):
            return False
    return kind is not dict or is_plain(list(value.values()), depth)


def dumps(value: Any) -> tuple[bytes, list[memoryview]]:
    """Pickle ``value``: the pickle, and the buffers that go beside it (flat, contiguous views of bytes, not copies).

    Raises whatever pickling raises: ``TypeError``, ``pickle.PicklingError``, or what a class's own code raises.
    """
    if type(value) in _ATOMS or is_plain(value):
        return pickle.dumps(value, PROTOCOL), []
    kind = type(value)
    if kind is tuple:
        value = with_buffers(value)
    elif (kind is bytes or kind is bytearray) and len(value) >= LARGE_BYTES:
        value = Large(value)
    return dump_with(value, None)


def dump_with(
    value: object, seen: set[str] | None, make: Callable[..., Pickler] | None = None
) -> tuple[bytes, list[memoryview]]:
    """As ``dumps`` without its short cuts; the modules that the pickle names are added to ``seen``.

    ``make`` makes another `Pickler` of the same parameters.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickle itself says so, or copies
            return True
        if view.nbytes < OUT_OF_BAND:
            return True
        buffers.append(view)
        return False

    file = io.BytesIO()
    (Pickler if make is None else make)(file, keep, seen).dump(value)
    return file.getvalue(), buffers


def loads(data: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """Undo ``dumps``. Arrays are made upon ``buffers`` without a copy, so give writable ones (``bytearray``)."""
    return pickle.loads(data, buffers=buffers)


def by_reference(obj: types.FunctionType | type | types.ModuleType) -> bool:
    """Whether a function, class or module is pickled as the name under which it can be imported."""
    settle(obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__)
    return bool(_should_pickle_by_reference(obj))


def settle(name: object) -> None:
    """See to it that what a module that no other process can import defines goes by value.

    That is a module made by hand and put into ``sys.modules`` (notebooks and servers of scripts do so), and the script
    of a process that ``multiprocessing`` has spawned.
    """
    if name in _settled or not isinstance(name, str) or name not in sys.modules:
        return
    module = sys.modules[name]
    root = sys.modules.get(name.partition(".")[0])
    homeless = all(not getattr(m, "__spec__", None) and not getattr(m, "__file__", None) for m in (module, root))
    if type(module) is types.ModuleType and name != "__main__" and (homeless or name == "__mp_main__"):
        cloudpickle.register_pickle_by_value(module)
    _settled.add(name)


class Large:
    """A long ``bytes`` or ``bytearray`` that travels as a buffer, so that it is not copied into the pickle."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self.value = value

    def __reduce__(self) -> tuple[type, tuple[pickle.PickleBuffer]]:
        return type(self.value), (pickle.PickleBuffer(self.value),)


def with_buffers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """``values`` with the long ``bytes`` and ``bytearray`` among them made to travel as buffers."""
    if not any((type(v) is bytes or type(v) is bytearray) and len(v) >= LARGE_BYTES for v in values):
        return values
    large: dict[int, Large] = {}  # one object given twice stays one object

    def wrap(value: Any) -> Any:
        if (type(value) is bytes or type(value) is bytearray) and len(value) >= LARGE_BYTES:
            return large.setdefault(id(value), Large(value))
        return value

    return tuple(wrap(value) for value in values)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, with a note of the modules that are named and some of its gaps closed.

    Args:
        file: has ``write``.
        keep: gets each buffer; false takes it out of the pickle.
        seen: gets the names of the modules that unpickling will import, and that the functions sent by value import.
    """

    def __init__(self, file: Any, keep: Any, seen: set[str] | None = None) -> None:
        super().__init__(file, PROTOCOL, keep)
        self.seen = seen
        self.last: object = None

    def reducer_override(self, obj: Any) -> Any:
        """Called by pickle for all but the plainest objects; ``last`` is then the object of the latest call."""
        self.last = obj
        kind = type(obj)
        if kind is types.FunctionType:
            settle(obj.__module__)
            reduced = self._function_reduce(obj)
            if reduced is NotImplemented:
                self._note(obj.__module__)
                return reduced
            self._by_value(obj, reduced)
            return reduced
        how = _how(kind)  # type: ignore[arg-type]
        if how is None:
            return NotImplemented
        if how == "class":
            settle(obj.__module__)
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented:
                self._note(obj.__module__)
            return reduced
        if how == "module" and by_reference(obj):
            self._note(obj.__name__)
            return subimport, (obj.__name__,)
        if how == "custom":
            module = getattr(obj, "__module__", None)
            settle(module)
            self._note(module)
        if how in _HOW:
            return NotImplemented
        raise pickle.PicklingError(f"cannot pickle '{kind.__name__}' object: {how}")

    def _note(self, module: object) -> None:
        if self.seen is not None and isinstance(module, str):
            self.seen.add(module)

    def _by_value(self, function: types.FunctionType, reduced: Any) -> None:
        code = function.__code__
        more = codescan.class_body_names(code)
        if more:  # cloudpickle overlooks what the body of a class inside a function reads
            names = reduced[2][1]["__globals__"]
            everything = function.__globals__
            names.update((name, everything[name]) for name in more if name in everything and name not in names)
        if self.seen is not None:
            self.seen |= codescan.imported(code, function.__globals__.get("__package__"))


@functools.lru_cache(1024)
def _how(kind: type) -> str | None:
    """How the objects of a class are treated: "class", "module", "custom", a refusal's reason, or ``None``."""
    if issubclass(kind, type):
        return "class"
    if issubclass(kind, types.ModuleType):
        return "module"
    for base in kind.__mro__:
        if base.__name__ in CLIENT_ONLY and base.__module__.partition(".")[0] == "skyward":
            return CLIENT_ONLY[base.__name__]
    if kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
        return None
    return "custom"  # it may reduce to a bare name, which pickle looks up in the module of the object
