"""The versions that both ends of a pickle must share, and the refusal on a node that has others.

Estimators, arrays and joblib's own objects are pickled between the client and the slots, and none of the four packages
promises that a pickle crosses its versions. scikit-learn only warns, and then computes with what it finds.

This module runs on the nodes too, and imports nothing that takes time.
"""

from __future__ import annotations

import sys
from functools import lru_cache

__all__ = ["DISTRIBUTIONS", "Versions"]

DISTRIBUTIONS = {"joblib": "joblib", "numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn"}
"""Modules whose objects are pickled, with the distributions that they come from."""

_ALWAYS = "joblib"
"""What every batch needs, whatever its calls do."""

type Expected = tuple[tuple[str, str], ...]
"""Modules and their versions."""


class Versions:
    """What the client has, as the first argument of whatever runs in a slot.

    Arguments are unpickled in their order. Where the slot has another version, unpickling this one raises
    ``ConfigurationError``, before anything is unpickled that might not survive it. What the slot does not have at all
    is let be, but for joblib: a task that needs it says so itself.
    """

    __slots__ = ("expected",)

    def __init__(self, expected: Expected) -> None:
        self.expected = expected

    @classmethod
    def of_client(cls) -> Versions:
        """Those of the modules that this process has imported: what it has not imported it does not pickle."""
        found = ((module, _loaded(module)) for module in DISTRIBUTIONS)
        return cls(tuple((module, version) for module, version in found if version is not None))

    def __reduce__(self) -> tuple[object, tuple[Expected]]:
        return _demanded, (self.expected,)


def _loaded(module: str) -> str | None:
    """The version of a module that is imported, and wholly: another thread may be about to."""
    version = getattr(sys.modules.get(module), "__version__", None)
    return version if isinstance(version, str) else None


def _here(module: str) -> str | None:
    loaded = _loaded(module)
    if loaded is not None:
        return loaded
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTIONS[module])
    except PackageNotFoundError:
        return None


def _demanded(expected: Expected) -> Versions:
    """What a pickle of ``Versions`` calls in the slot.

    Raises:
        ConfigurationError: the slot has other versions.
    """
    other = _others(expected)
    if other:
        from skyward import ConfigurationError

        raise ConfigurationError(other)
    return Versions(expected)


@lru_cache(maxsize=8)
def _others(expected: Expected) -> str:
    """What is to be said about the versions here; nothing where they are those that are expected.

    They are looked up once in the life of a process: what is installed under a running one does not become its own.
    """
    found = [(module, _here(module), version) for module, version in expected]
    needed = [each for each in found if each[1] is not None or each[0] == _ALWAYS]
    differ = [(DISTRIBUTIONS[module], has, version) for module, has, version in needed if has != version]
    if not differ:
        return ""
    facts = " and ".join(f"{_named(name, has)} where the client has {version}" for name, has, version in differ)
    pins = ", ".join(repr(f"{name}=={version}") for name, _, version in differ)
    integration = "sklearn" if any(name == "scikit-learn" for name, _, _ in differ) else "joblib"
    return (
        f"this node has {facts}, and what is pickled does not cross versions: give the pool "
        f"plugins=[sky.integrations.{integration}()], which installs the client's, or image=sky.Image(pip=[{pins}])"
    )


def _named(name: str, version: str | None) -> str:
    return f"no {name}" if version is None else f"{name} {version}"
