"""Where a module comes from: whether it has to travel to a node, or is a matter of the node's own environment."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import site
import sys
import sysconfig
import types
from enum import Enum
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from typing import Any, NamedTuple

__all__ = ["Kind", "Place", "is_foreign_path", "locate"]


class Kind(Enum):
    """What a module's name stands for."""

    LOCAL = "local"  # source that only the client has
    NAMESPACE = "namespace"  # a package without a file, with a local portion
    BINARY = "binary"  # local, but without source: a compiled extension
    FOREIGN = "foreign"  # the standard library's, an installed distribution's or skyward's own
    MISSING = "missing"  # the client cannot import it


class Place(NamedTuple):
    """What is known of a module without importing it.

    ``stamp`` is an object that changes identity when the loaded module is reloaded, ``None`` when it is not loaded.
    """

    kind: Kind
    filename: str = ""
    path: tuple[str, ...] | None = None
    loader: Any = None
    stamp: object = None


_FOREIGN = Place(Kind.FOREIGN)
_MISSING = Place(Kind.MISSING)
_NEVER = frozenset({"__main__", "__mp_main__", "cloudpickle", "skyward"})


def locate(name: str) -> Place:
    """Find the module ``name``, without importing it or its packages."""
    root = name.partition(".")[0]
    if root in _NEVER or root.startswith("skyward_"):
        return _FOREIGN
    if name in sys.modules:
        module: object = sys.modules[name]  # anything can stand there, None not the rarest
        return _of_loaded(name, module) if isinstance(module, types.ModuleType) else _FOREIGN
    parent = name.rpartition(".")[0]
    path: tuple[str, ...] | None = None
    if parent:
        above = locate(parent)
        if above.kind not in (Kind.LOCAL, Kind.NAMESPACE):
            return above if above.kind is Kind.FOREIGN else _MISSING
        if above.path is None:
            return _MISSING
        path = above.path
    spec = _find(name, path)
    return _MISSING if spec is None else _place(name, spec.origin, spec.submodule_search_locations, spec.loader, None)


def _of_loaded(name: str, module: types.ModuleType) -> Place:
    spec = getattr(module, "__spec__", None)
    origin = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    loader = getattr(module, "__loader__", None) or getattr(spec, "loader", None)
    return _place(name, origin, getattr(module, "__path__", None), loader, module if spec is None else spec)


def _find(name: str, path: tuple[str, ...] | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # noqa: BLE001, S112  a finder of somebody else's; importing will show the error
            continue
        if spec is not None:
            return spec
    return None


def _place(name: str, origin: str | None, path: Any, loader: Any, stamp: object) -> Place:
    try:
        portions = None if path is None else tuple(str(part) for part in path)
    except Exception:  # noqa: BLE001  __path__ may be any object
        portions = None
    if not origin or origin == "namespace":
        if portions and not all(is_foreign_path(part) for part in portions):
            return Place(Kind.NAMESPACE, "", portions, loader, stamp)
        return _FOREIGN
    if (
        origin in {"built-in", "frozen"}
        or is_foreign_path(origin)
        or _is_installed(name, origin, is_package=portions is not None)
    ):
        return _FOREIGN
    if origin.endswith((*EXTENSION_SUFFIXES, ".pyc")):
        return Place(Kind.BINARY, os.path.abspath(origin), portions, loader, stamp)
    return Place(Kind.LOCAL, os.path.abspath(origin), portions, loader, stamp)


@functools.cache
def _foreign_roots() -> tuple[str, ...]:
    """Directories of the standard library and of installed distributions, and the zipped standard library."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = {path for name in names if (path := sysconfig.get_path(name))}
    roots.add(os.path.dirname(os.__file__))
    roots.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
    if hasattr(site, "getusersitepackages"):
        roots.add(site.getusersitepackages())
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    roots.update(
        os.path.join(prefix, sys.platlibdir, f"python{version}.zip") for prefix in (sys.prefix, sys.base_prefix)
    )
    both = {os.path.abspath(root) for root in roots} | {os.path.realpath(root) for root in roots}
    return tuple(root.rstrip(os.sep) + os.sep for root in both)


def is_foreign_path(path: str) -> bool:
    """Whether a file or directory belongs to the standard library or to installed distributions."""
    full = os.path.abspath(path) + os.sep
    if full.startswith(_foreign_roots()):
        return True
    return f"{os.sep}site-packages{os.sep}" in full or f"{os.sep}dist-packages{os.sep}" in full


def _is_installed(name: str, origin: str, *, is_package: bool) -> bool:
    """Whether the module was installed into a directory of no special name, as ``pip install --target`` does."""
    levels = name.count(".") + 1 + is_package
    root = os.path.abspath(origin)
    for _ in range(levels):
        root = os.path.dirname(root)
    return name.partition(".")[0] in _installed_in(root)


@functools.lru_cache(256)
def _installed_in(root: str) -> frozenset[str]:
    """Top-level names that the distributions installed in ``root`` have there."""
    try:
        if not any(entry.endswith(".dist-info") for entry in os.listdir(root)):
            return frozenset()
    except OSError:
        return frozenset()
    names: set[str] = set()
    for distribution in importlib.metadata.distributions(path=[root]):
        for file in distribution.files or ():
            names.add(file.parts[0].partition(".")[0])
    return frozenset(names)
