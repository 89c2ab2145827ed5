"""Which installed distributions bring a plugin. Nothing of them is imported here."""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = [
    "CORE",
    "GROUP",
    "Found",
    "Source",
    "all_disabled",
    "canonical",
    "disabled",
    "discover",
    "may_find",
    "named_off",
    "packages",
]

GROUP = "skyward"
CORE = "skyward-core"
VARIABLE = "SKYWARD_DISABLE_PLUGINS"


class Source(NamedTuple):
    """A distribution that brings a plugin."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Found(NamedTuple):
    """A distribution with its entry points in the group, and whether it is turned off."""

    source: Source
    entries: tuple[EntryPoint, ...]
    off: bool


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def all_disabled() -> bool:
    """Whether every installed plugin is turned off."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes", "all")


def disabled(distribution: str) -> bool:
    """Whether a distribution, by its canonical name, is turned off."""
    return all_disabled() or distribution in named_off()


def named_off() -> set[str]:
    """What the variable names, as canonical names; without meaning where it turns off all."""
    return {canonical(name.strip()) for name in os.environ.get(VARIABLE, "").split(",")} - {""}


def discover() -> list[Found]:
    """The distributions with a plugin but core's own, by name. Of one that is found twice the first counts."""
    from importlib.metadata import distributions

    seen: dict[str, Found] = {}
    for distribution in distributions():
        entries = distribution.entry_points.select(group=GROUP)
        name = _name_of(distribution) if entries else ""
        if name and name != CORE and name not in seen:
            seen[name] = Found(Source(name, distribution.version), tuple(entries), disabled(name))
    return [found for _, found in sorted(seen.items())]


def _name_of(distribution: Distribution) -> str:
    try:
        return canonical(distribution.metadata.get("Name") or "")
    except (AttributeError, OSError):  # no metadata at all: what an interrupted installation left behind
        return ""


def may_find() -> bool:
    """Whether `discover` could find a plugin that is not turned off.

    It reads what installers leave on ``sys.path`` and nothing else, which takes a fiftieth of the time of a whole
    discovery and its imports. Where something else can find distributions it answers true: it is never wrongly false.
    """
    if all_disabled():
        return False
    for finder in sys.meta_path:
        if finder is not PathFinder and hasattr(finder, "find_distributions"):
            return True
    return any(map(_holds_plugin, dict.fromkeys(sys.path)))


def _holds_plugin(folder: str) -> bool:
    if folder.endswith(".egg"):
        return os.path.exists(folder)
    try:
        names = os.listdir(folder or ".")
    except FileNotFoundError:
        return False
    except OSError:  # an archive, or what may not be read: let the discovery find out
        return True
    return any(_brings_plugin(os.path.join(folder, name)) for name in names if _is_metadata(name))


def _is_metadata(name: str) -> bool:
    low = name.lower()
    if low == "egg-info":
        return True
    return low.endswith((".dist-info", ".egg-info")) and canonical(os.path.splitext(name)[0].partition("-")[0]) != CORE


def _brings_plugin(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
            return b"[skyward]" in file.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def packages() -> tuple[str, ...]:
    """The import packages of the installed plugins that are not turned off: what a node needs besides skyward.

    What cannot be found here is left out: such a plugin is broken, and its names say so when they are used.
    """
    if not may_find():
        return ()
    entries = (entry for found in discover() if not found.off for entry in found.entries)
    return tuple(sorted(filter(_is_there, {entry.module.partition(".")[0] for entry in entries})))


def _is_there(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
