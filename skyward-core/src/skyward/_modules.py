"""The local modules that travel with a function: which ones, and their sources.

A module is local when it is importable here from source that is neither the standard library's nor an installed
distribution's. An editable install is local; skyward and its plugins never are, for they travel by themselves.

A loaded module travels as it was when first asked for, until it is reloaded: the nodes then run what this process runs.
One that is not loaded travels as its file is now.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from skyward._locate import Kind, Place, is_foreign_path, locate
from skyward.errors import SerializationError
from skyward.worker.modules import Carried

__all__ = ["EMPTY", "Bundle", "collect", "relevant"]


class Bundle:
    """Modules to be installed on a node before a function is loaded.

    ``modules`` is sorted by name; each is ``(name, filename, is_package, source)``, a namespace package without file
    name and source. ``digest`` (16 bytes) is different for every state that this process has seen.
    """

    __slots__ = ("digest", "modules")

    def __init__(self, modules: tuple[Carried, ...], digest: bytes) -> None:
        self.modules = modules
        self.digest = digest

    def records(self) -> list[tuple[str, str, bool, bytes]]:
        """As plain tuples, which is what ``worker.modules.install`` takes."""
        return [(m.name, m.filename, m.is_package, m.source) for m in self.modules]


EMPTY = Bundle((), b"")
"""The bundle of functions that use no local module."""

_UNSETTLED_NS = 50_000_000
"""Nanoseconds after a change during which a file may change again without a newer time stamp."""


class _Entry:
    """A local module's source, good for as long as ``is_fresh``. ``edition`` counts the sources the name has had."""

    __slots__ = ("carried", "edition", "imports", "place", "written")

    def __init__(self, carried: Carried, place: Place, written: object, edition: int) -> None:
        self.carried = carried
        self.place = place
        self.written = written
        self.edition = edition
        self.imports = carried.imports()

    def is_fresh(self) -> bool:
        module = sys.modules.get(self.carried.name)
        if module is not None:
            return (getattr(module, "__spec__", None) or module) is self.place.stamp
        return self.place.stamp is None and self.written is not None and _written(self.place.filename) == self.written


class _Answer(NamedTuple):
    """A bundle, and what it rests on."""

    bundle: Bundle
    entries: tuple[_Entry, ...]
    loaded: int | None  # the number of loaded modules, where that matters
    path: tuple[str, ...] | None  # sys.path, where a module was not found
    watched: tuple[tuple[str, object], ...]  # directories in which a missing module may turn up

    def is_fresh(self) -> bool:
        for entry in self.entries:  # asked at each call, so the usual case is here, and no generator
            stamp = entry.place.stamp
            usual = stamp is not None and getattr(sys.modules.get(entry.carried.name), "__spec__", None) is stamp
            if not usual and not entry.is_fresh():
                return False
        for where, stamp in self.watched:
            if stamp is None or _written(where) != stamp:
                return False
        return (self.loaded is None or self.loaded == len(sys.modules)) and (
            self.path is None or self.path == tuple(sys.path)
        )


_entries: dict[str, _Entry] = {}
_answers: dict[frozenset[str], _Answer] = {}
_foreign: set[str] = set()
_known: set[str] = set()
_lock = threading.RLock()
_MOST_ANSWERS = 1024


def relevant(names: Iterable[str]) -> frozenset[str]:
    """Those of the modules' names that ``collect`` has to look at: local ones, and ones that are not here at all."""
    found = frozenset(name for name in names if name in _known or not _is_foreign(name))
    _known.update(found)
    return found


def _is_foreign(name: str) -> bool:
    if name in _foreign:
        return True
    if locate(name).kind is not Kind.FOREIGN:
        return False
    _foreign.add(name)
    return True


def collect(names: frozenset[str]) -> Bundle:
    """The local modules among ``names``, with all local ones that these import, at any depth, also inside functions.

    The same object is returned for as long as nothing has changed. Names that cannot be found are left out: a node may
    have them. Raises ``SerializationError`` for a local module without source, such as a compiled extension.
    """
    if not names:
        return EMPTY
    answer = _answers.get(names)
    if answer is not None and answer.is_fresh():
        return answer.bundle
    with _lock:
        importlib.invalidate_caches()
        if len(_answers) >= _MOST_ANSWERS:
            _answers.clear()
        answer = _answers[names] = _Collector(names).answer(answer)
    return answer.bundle


class _Collector:
    """Walks from modules to those that they import."""

    def __init__(self, names: Iterable[str]) -> None:
        self._waiting = [(name, False) for name in sorted(names)]
        self._done: set[str] = set()
        self._entries: dict[str, _Entry] = {}
        self._spaces: set[str] = set()
        self._missing: list[str] = []
        self._dynamic = False

    def answer(self, before: _Answer | None) -> _Answer:
        while self._waiting:
            name, optional = self._waiting.pop()
            if name not in self._done:
                self._done.add(name)
                self._visit(name, optional=optional)
        bundle = self._bundle()
        if before is not None and before.bundle.digest == bundle.digest:
            bundle = before.bundle
        watched, path = self._watched()
        entries = tuple(self._entries.values())
        return _Answer(bundle, entries, len(sys.modules) if self._dynamic else None, path, watched)

    def _visit(self, name: str, *, optional: bool) -> None:
        if _is_foreign(name):
            return
        place = locate(name)
        if place.kind is Kind.MISSING:
            self._missing.append(name)
            return
        parent = name.rpartition(".")[0]
        if parent:
            self._waiting.append((parent, optional))
        if place.kind is Kind.NAMESPACE:
            self._spaces.add(name)
            return
        entry = _entry(name, place) if place.kind is Kind.LOCAL else None
        if entry is None:
            if not optional:
                raise _refusal(name, place)
            return
        self._entries[name] = entry
        self._waiting.extend(self._imports(entry))

    def _imports(self, entry: _Entry) -> Iterator[tuple[str, bool]]:
        for wanted in entry.imports:
            if wanted.dynamic:
                self._dynamic = True
                inside = f"{entry.carried.package}."
                yield from ((name, True) for name in list(sys.modules) if inside != "." and name.startswith(inside))
                continue
            yield wanted.module, wanted.optional
            if wanted.names and locate(wanted.module).path is not None:
                names = _public(wanted.module) if "*" in wanted.names else wanted.names
                yield from ((f"{wanted.module}.{name}", wanted.optional) for name in names)

    def _bundle(self) -> Bundle:
        modules = {name: entry.carried for name, entry in self._entries.items()}
        modules.update({name: Carried(name, "", True, b"") for name in self._spaces})
        if not modules:
            return EMPTY
        digest = blake2b(digest_size=16)
        for name, carried in sorted(modules.items()):
            edition = self._entries[name].edition if name in self._entries else 0
            head = repr((name, carried.filename, carried.is_package, edition, len(carried.source)))
            digest.update(head.encode(errors="surrogateescape"))
            digest.update(carried.source)
        return Bundle(tuple(modules[name] for name in sorted(modules)), digest.digest())

    def _watched(self) -> tuple[tuple[tuple[str, object], ...], tuple[str, ...] | None]:
        """Where the missing ones may turn up."""
        directories: set[str] = set()
        outermost = False
        for name in self._missing:
            parent = name.rpartition(".")[0]
            if parent:
                directories.update(locate(parent).path or ())
            else:
                outermost = True
                directories.update(where or os.getcwd() for where in sys.path if not is_foreign_path(where))
        there = sorted(where for where in directories if os.path.isdir(where))
        return tuple((where, _written(where)) for where in there), tuple(sys.path) if outermost else None


def _entry(name: str, place: Place) -> _Entry | None:
    """The module's source, read anew if need be; ``None`` if it has none."""
    known = _entries.get(name)
    if known is not None and known.place.filename == place.filename and known.is_fresh():
        return known
    written = None if place.stamp is not None else _written(place.filename)
    source = _source(place)
    if source is None:
        return None
    carried = Carried(name, place.filename, place.path is not None, source)
    edition = 0 if known is None else known.edition + (known.carried != carried)
    entry = _entries[name] = _Entry(carried, place, written, edition)
    return entry


def _source(place: Place) -> bytes | None:
    try:
        with open(place.filename, "rb") as file:
            return file.read()
    except OSError:  # inside a zip file
        pass
    try:
        data: Any = place.loader.get_data(place.filename)
    except Exception:  # noqa: BLE001  loaders are anybody's
        return None
    return data if isinstance(data, bytes) else None


def _written(path: str) -> object:
    """What changes when a file or directory is changed; ``None`` when it cannot be told, or not yet."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if abs(time.time_ns() - status.st_mtime_ns) < _UNSETTLED_NS:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _public(name: str) -> tuple[str, ...]:
    """The names in ``__all__`` of a loaded package, which ``import *`` imports as submodules where need be."""
    names = getattr(sys.modules.get(name), "__all__", ())
    return tuple(each for each in names if isinstance(each, str))


def _refusal(name: str, place: Place) -> SerializationError:
    return SerializationError(
        f"module {name!r} cannot travel to the nodes: {place.filename} is not Python source; "
        "install it there, for example with Image(pip=[...]), and here with pip",
        path=name,
    )
