"""Modules that came from the client: importable on the node as if their files were there.

A finder in front of all others serves their sources. They keep the file names that they have on the client, so that
tracebacks read alike on both sides.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
import types
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source
from typing import Any, NamedTuple

from skyward.worker.codescan import Import, source_imports

__all__ = ["Carried", "install"]

type Record = tuple[str, str, bool, bytes]

_OWN = frozenset({"__main__", "builtins", "cloudpickle", "skyward", "sys"})


class Carried(NamedTuple):
    """One module: ``filename`` is the client's, and empty for a namespace package, which has no source."""

    name: str
    filename: str
    is_package: bool
    source: bytes

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def imports(self) -> list[Import]:
        return source_imports(self.source, self.package)


class Loader:
    """Executes one carried module, and shows its source to tracebacks and ``inspect``."""

    def __init__(self, carried: Carried) -> None:
        self.carried = carried

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """``None``: an ordinary module will do."""

    def exec_module(self, module: types.ModuleType) -> None:
        lines = self.get_source().splitlines(keepends=True)
        linecache.cache[self.carried.filename] = (len(self.carried.source), None, lines, self.carried.filename)
        exec(self.get_code(), module.__dict__)  # noqa: S102  that is what importing a module is

    def get_code(self, fullname: str | None = None) -> types.CodeType:
        code: types.CodeType = compile(self.carried.source, self.carried.filename, "exec", dont_inherit=True)
        return code

    def get_source(self, fullname: str | None = None) -> str:
        return decode_source(self.carried.source)

    def get_filename(self, fullname: str | None = None) -> str:
        return self.carried.filename

    def is_package(self, fullname: str | None = None) -> bool:
        return self.carried.is_package

    def get_data(self, path: str) -> bytes:
        if path == self.carried.filename:
            return self.carried.source
        with open(path, "rb") as file:
            return file.read()


class Finder:
    """Serves carried modules by their full name, whatever the search path is."""

    def __init__(self) -> None:
        self.modules: dict[str, Carried] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        carried = self.modules.get(fullname)
        if carried is None:
            return None
        if not carried.filename:
            there = PathFinder.find_spec(fullname, path)  # the node may have other portions of the namespace
            if there is not None:
                return there
            return ModuleSpec(fullname, None, is_package=True)
        loader: Any = Loader(carried)
        spec = ModuleSpec(fullname, loader, origin=carried.filename, is_package=carried.is_package)
        spec.has_location = True
        if carried.is_package:
            spec.submodule_search_locations = [os.path.dirname(carried.filename)]
        return spec


_finder = Finder()
_lock = threading.Lock()


def install(bundle: Iterable[Record]) -> frozenset[str]:
    """Make modules importable; returns the names of the loaded modules that had to be dropped for it.

    Each record is name, file name, whether it is a package, source. A module whose source differs from what is loaded
    is dropped, with its submodules and the carried modules that import it, so that the next import runs the new source.
    What is loaded already and has not changed keeps its state. Modules of earlier bundles stay importable.
    """
    arrived = {record[0]: Carried(*record) for record in bundle if not _is_own(record[0])}
    with _lock:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        outdated = {name for name, carried in arrived.items() if name in sys.modules and _differs(carried)}
        _finder.modules = {**_finder.modules, **arrived}
        dropped = _with_dependants(outdated) if outdated else outdated
        for name in dropped:
            _drop(name)
    return frozenset(dropped)


def _is_own(name: str) -> bool:
    root = name.partition(".")[0]
    return root in _OWN or root.startswith("skyward_")


def _differs(carried: Carried) -> bool:
    """Whether the module that is loaded under the name is another than ``carried``."""
    if not carried.filename:
        return False
    spec = getattr(sys.modules[carried.name], "__spec__", None)
    loader = getattr(spec, "loader", None)
    if isinstance(loader, Loader):
        return loader.carried != carried
    origin = getattr(spec, "origin", None)
    if origin != carried.filename:
        return True
    try:  # the client's own file, on this very machine
        with open(origin, "rb") as file:
            return file.read() != carried.source
    except OSError:
        return True


def _with_dependants(outdated: set[str]) -> set[str]:
    """``outdated``, the submodules of each, and the loaded carried modules that import any of these, and so on."""
    loaded = {name: _needs(carried) for name, carried in _finder.modules.items() if name in sys.modules}
    dropped = set(outdated)
    grown = True
    while grown:
        below = tuple(f"{name}." for name in dropped)
        more = {name for name in list(sys.modules) if name.startswith(below)}
        more |= {name for name, needs in loaded.items() if needs is None or needs & dropped}
        grown = not more <= dropped
        dropped |= more
    return {name for name in dropped if name in sys.modules}


def _needs(carried: Carried) -> set[str] | None:
    """Names of the modules that a module may import, with their packages; ``None`` when nobody can tell."""
    needs: set[str] = set()
    for wanted in carried.imports():
        if wanted.dynamic:
            return None
        needs.update(f"{wanted.module}.{name}" for name in wanted.names)
        parts = wanted.module.split(".")
        needs.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    needs.discard(carried.name)
    return needs


def _drop(name: str) -> None:
    module = sys.modules.pop(name, None)
    carried = _finder.modules.get(name)
    if carried is not None:
        linecache.cache.pop(carried.filename, None)
    parent, _, leaf = name.rpartition(".")
    owner = sys.modules.get(parent)
    if owner is not None and getattr(owner, leaf, None) is module:
        with contextlib.suppress(AttributeError):  # else `from parent import leaf` would find the old one
            delattr(owner, leaf)
