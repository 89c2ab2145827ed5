"""What ``skyward.<name>`` is: found, and imported, when it is first used."""

from __future__ import annotations

import importlib
from typing import Any

from skyward._places import HOME, MODULES, OWN

__all__ = ["available", "resolve"]


def resolve(name: str) -> Any:
    """Return what ``skyward.<name>`` is: of core, or of a plugin.

    Raises:
        PluginNotInstalled: a known plugin is missing; it says what to install.
        AttributeError: nobody knows the name; near matches are named.
    """
    if name in MODULES:
        return importlib.import_module(MODULES[name])
    if name in HOME:
        return getattr(importlib.import_module(HOME[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'skyward' has no attribute {name!r}")
    from skyward import _plugins

    return _plugins.provider(name)


def available() -> list[str]:
    """Every name of ``skyward``, those of installed plugins included."""
    from skyward import _plugins

    return sorted({*OWN, *_plugins.provider_names()})
