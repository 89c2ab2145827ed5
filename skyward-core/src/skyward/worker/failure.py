"""What a task raised, as bytes that the client can always read.

``encode`` takes an exception apart into plain values: its class, its arguments and attributes each pickled by
themselves, its notes, its traceback, and the exceptions that it is linked with. One piece that does not pickle is
replaced by its repr and costs nothing else. ``skyward._failure`` puts the pieces together again.

An exception's ``__init__`` plays no part in this: what it stored is what travels, so a class whose initialiser takes
keywords, or formats its message, arrives as it was. Only a class with a ``__reduce__`` of its own is asked for it.
"""

from __future__ import annotations

import io
import pickle
import reprlib
from collections import deque
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypedDict

import cloudpickle

from skyward.worker.frames import FrameRecord, Sources, capture

type Piece = tuple[Any, ...]
"""``("value", object)``, ``("pickle", bytes, repr, type)`` or ``("repr", repr, type, reason)``."""


class ClassRecord(TypedDict):
    """A class of an exception or of one of its bases. ``bases`` are indices of class records."""

    module: str
    qualname: str
    tracker: str | None
    pickled: bytes | None
    bases: list[int]


class Record(TypedDict):
    """One exception. ``cause``, ``context`` and ``members`` are indices of records, ``cls`` of a class record."""

    cls: int
    text: str
    repr: str
    args: list[Piece]
    state: dict[str, Piece]
    fields: list[tuple[str, str, Piece]]
    whole: bytes | None
    group: str | None
    members: list[int]
    cause: int | None
    context: int | None
    suppress: bool
    frames: list[FrameRecord]


class Envelope(TypedDict):
    """What ``encode`` pickles: values of built-in types only. The exception that was raised is the first record."""

    cancelled: bool
    records: list[Record]
    classes: list[ClassRecord]
    sources: Sources


MAX_RECORDS = 500
"""Causes and contexts are followed until this many exceptions are known; a retry loop can chain them without end."""

MAX_REPR = 2000
"""Characters kept of the repr of a piece that stands in for the piece itself."""

_SIMPLE = frozenset({type(None), bool, int, float, complex, str, bytes})
_HANDLED = frozenset({"__dict__", "__weakref__"})


def encode(exc: BaseException, *, cancelled: bool = False) -> bytes:
    """Describe ``exc`` and everything linked with it. Never raises.

    ``cancelled`` says that the caller had asked for the task to stop, so that a ``KeyboardInterrupt`` is the answer
    to that and no failure of the function.
    """
    try:
        return pickle.dumps(_Describer().describe(exc, cancelled=cancelled), protocol=5)
    except BaseException:  # noqa: BLE001
        # Out of memory, or a class that fights every look at it: the name and the text still arrive.
        return pickle.dumps(_last_resort(exc, cancelled=cancelled), protocol=5)


def _class_tracker(name: str) -> Any:
    """The table of cloudpickle that ties a class sent by value to its identity, or an empty one."""
    return getattr(cloudpickle.cloudpickle, f"_DYNAMIC_CLASS_TRACKER_BY_{name}", {})


def _safe_text(value: object, render: Any = str) -> str:
    """``render(value)``, or a line that says that it failed."""
    try:
        return str(render(value))
    except BaseException as reason:  # noqa: BLE001 - user code may raise anything
        return f"<{type(value).__name__} whose {render.__name__}() raises {type(reason).__name__}>"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
    """Pickles one piece, naming other exceptions by their index and classes sent by value by their identity."""

    def __init__(self, file: io.BytesIO, describer: _Describer, root: BaseException | None) -> None:
        super().__init__(file, protocol=5)
        self._describer = describer
        self._root = root

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if isinstance(obj, BaseException):
            return None if obj is self._root else self._describer.link(obj)
        if isinstance(obj, type):
            return self._describer.tracked(obj)
        return None


class _Unpickler(pickle.Unpickler):
    """Reads a piece back on the node, to see whether its class can do that at all."""

    def __init__(self, data: bytes, describer: _Describer) -> None:
        super().__init__(io.BytesIO(data))
        self._describer = describer

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        return self._describer.resolve(pid)


class _Describer:
    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._exceptions: list[BaseException] = []
        self._queue: deque[BaseException] = deque()
        self._classes: list[ClassRecord] = []
        self._class_indices: dict[type, int] = {}
        self._tracked: dict[type, tuple[Any, ...] | None] = {}
        self._sources: Sources = {}

    def describe(self, exc: BaseException, *, cancelled: bool) -> Envelope:
        self._index(exc)
        records: list[Record] = []
        while self._queue:
            current = self._queue.popleft()
            try:
                records.append(self._record(current))
            except Exception:  # noqa: BLE001 - one odd exception of a chain costs only its own details
                records.append(_plain_record(current, self._class_index(type(current))))
        return {"cancelled": cancelled, "records": records, "classes": self._classes, "sources": self._sources}

    def link(self, exc: BaseException) -> tuple[Any, ...] | None:
        index = self._follow(exc)
        return None if index is None else ("exception", index)

    def tracked(self, cls: type) -> tuple[Any, ...] | None:
        # Loaded by value, a class would get the node's copies of its methods written over the client's own class;
        # named by its identity, it is found as it is. The same tuple each time, so that pickle stores it once.
        if cls not in self._tracked:
            tracker = _class_tracker("CLASS").get(cls)
            self._tracked[cls] = None if tracker is None else ("class", tracker, _dump_class(cls))
        return self._tracked[cls]

    def resolve(self, pid: tuple[Any, ...]) -> Any:
        return self._exceptions[pid[1]] if pid[0] == "exception" else _class_tracker("ID")[pid[1]]

    def _index(self, exc: BaseException) -> int:
        index = self._known.get(id(exc))
        if index is None:
            index = self._known[id(exc)] = len(self._exceptions)
            self._exceptions.append(exc)
            self._queue.append(exc)
        return index

    def _follow(self, exc: BaseException | None) -> int | None:
        if exc is None or (len(self._exceptions) >= MAX_RECORDS and id(exc) not in self._known):
            return None
        return self._index(exc)

    def _record(self, exc: BaseException) -> Record:
        record = _plain_record(exc, self._class_index(type(exc)))
        record["suppress"] = exc.__suppress_context__
        record["frames"] = capture(exc.__traceback__, self._sources)
        if isinstance(exc, BaseExceptionGroup):
            record["group"] = str(exc.message)
            record["members"] = [self._index(member) for member in exc.exceptions]
        record["cause"] = self._follow(exc.__cause__)
        record["context"] = self._follow(exc.__context__)
        record["args"] = [self._piece(value) for value in exc.args]
        state = dict(BaseException.__dict__["__dict__"].__get__(exc) or {})
        record["whole"] = self._whole(exc)
        if record["whole"] is not None:
            # The class said itself what is worth keeping; what else it holds may be large, or a secret.
            state = {key: value for key, value in state.items() if key == "__notes__"}
        else:
            record["fields"] = [(owner, name, self._piece(value)) for owner, name, value in _fields(exc)]
        record["state"] = {key: self._piece(value) for key, value in state.items() if isinstance(key, str)}
        return record

    def _whole(self, exc: BaseException) -> bytes | None:
        if not _reduces_itself(type(exc)):
            return None
        try:
            data = self._dump(exc, root=exc)
            return data if type(_Unpickler(data, self).load()) is type(exc) else None
        except BaseException:  # noqa: BLE001 - then the pieces serve
            return None

    def _piece(self, value: object) -> Piece:
        if type(value) in _SIMPLE:
            return ("value", value)
        try:
            return ("pickle", self._dump(value), _brief(value), _name(type(value)))
        except BaseException as reason:  # noqa: BLE001 - user code may raise anything
            return ("repr", _brief(value), _name(type(value)), f"{type(reason).__name__}: {_safe_text(reason)}")

    def _dump(self, value: object, root: BaseException | None = None) -> bytes:
        with io.BytesIO() as file:
            _Pickler(file, self, root).dump(value)
            return file.getvalue()

    def _class_index(self, cls: type) -> int:
        index = self._class_indices.get(cls)
        if index is None:
            bases = [self._class_index(base) for base in cls.__bases__ if base is not object]
            builtin = cls.__module__ == "builtins"
            index = self._class_indices[cls] = len(self._classes)
            self._classes.append(
                {
                    "module": str(cls.__module__),
                    "qualname": cls.__qualname__,
                    "tracker": None if builtin else _class_tracker("CLASS").get(cls),
                    "pickled": None if builtin else _dump_class(cls),
                    "bases": bases,
                }
            )
        return index


def _plain_record(exc: BaseException, cls: int) -> Record:
    """A record of the bare exception. Text and repr are for stand-ins, which built-in classes never need."""
    builtin = type(exc).__module__ == "builtins"
    return {
        "cls": cls,
        "text": "" if builtin else _safe_text(exc),
        "repr": "" if builtin else _safe_text(exc, repr),
        "args": [],
        "state": {},
        "fields": [],
        "whole": None,
        "group": None,
        "members": [],
        "cause": None,
        "context": None,
        "suppress": False,
        "frames": [],
    }


def _dump_class(cls: type) -> bytes | None:
    try:
        data = cloudpickle.dumps(cls, protocol=5)
    except BaseException:  # noqa: BLE001 - the client may know it by name or by identity
        return None
    return data if isinstance(data, bytes) else None


def _fields(exc: BaseException) -> list[tuple[str, str, object]]:
    """What ``exc`` keeps outside its ``__dict__``: slots, and the C fields of built-in classes such as ``OSError``."""
    found: list[tuple[str, str, object]] = []
    for cls in type(exc).__mro__:
        if cls in (object, BaseException, BaseExceptionGroup):
            continue
        kinds = (MemberDescriptorType, GetSetDescriptorType) if cls.__module__ == "builtins" else MemberDescriptorType
        for name, descriptor in vars(cls).items():
            # The object of an AttributeError can be anything at all, of any size; Python's own pickling drops it too.
            if name in _HANDLED or not isinstance(descriptor, kinds) or (cls is AttributeError and name == "obj"):
                continue
            try:
                found.append((cls.__qualname__, name, descriptor.__get__(exc)))
            except AttributeError:
                continue
    return found


def _reduces_itself(cls: type) -> bool:
    for name in ("__reduce_ex__", "__reduce__"):
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        if owner.__module__ != "builtins":
            return True
    return False


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _brief(value: object) -> str:
    shortener = reprlib.Repr(maxstring=MAX_REPR, maxother=MAX_REPR, maxlist=20, maxtuple=20, maxset=20, maxdict=20)
    return _safe_text(value, shortener.repr)


def _last_resort(exc: BaseException, *, cancelled: bool) -> Envelope:
    cls = type(exc)
    builtin = next((base for base in cls.__mro__ if base.__module__ == "builtins"), Exception)
    classes: list[ClassRecord] = [
        {"module": "builtins", "qualname": builtin.__name__, "tracker": None, "pickled": None, "bases": []},
        {"module": str(cls.__module__), "qualname": cls.__qualname__, "tracker": None, "pickled": None, "bases": [0]},
    ]
    record = _plain_record(exc, 1 if cls is not builtin else 0)
    return {"cancelled": cancelled, "records": [record], "classes": classes, "sources": {}}
