"""Finding plugins and asking them what they bring. The only importer of pluggy's manager.

Discovery runs once, at the first plugin name that is asked for, and never at ``import skyward``. A plugin that cannot
be loaded costs its own names only. ``SKYWARD_DISABLE_PLUGINS`` turns installed plugins off: ``1`` for all, or a
comma-separated list of distributions. Core's own are not concerned.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

from skyward._places import OWN
from skyward.errors import PluginError, PluginNotInstalled

if TYPE_CHECKING:
    import pluggy

__all__ = ["FIRST_PARTY", "FIRST_PARTY_INTEGRATIONS", "integration", "integration_names", "provider", "provider_names"]

_log = logging.getLogger("skyward.plugins")

GROUP = "skyward"
CORE = "skyward-core"

FIRST_PARTY = {
    "AWS": "skyward-aws",
    "RunPod": "skyward-runpod",
    "VastAI": "skyward-vastai",
    "Verda": "skyward-verda",
    "DigitalOcean": "skyward-digitalocean",
    "Container": "skyward-container",
}
"""Names that this project's own packages provide, so that a missing one can be named."""

FIRST_PARTY_INTEGRATIONS = {
    "torch": "skyward-torch",
    "jax": "skyward-jax",
    "keras": "skyward-keras",
    "tensorflow": "skyward-tensorflow",
    "transformers": "skyward-transformers",
    "joblib": "skyward-sklearn",
    "sklearn": "skyward-sklearn",
    "JoblibPool": "skyward-sklearn",
    "ScikitLearnPool": "skyward-sklearn",
    "joblib_backend": "skyward-sklearn",
    "sklearn_backend": "skyward-sklearn",
}


class _Source(NamedTuple):
    """A distribution that brings a plugin."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@frozen(eq=False)
class _Kind:
    """One sort of names: the hook that brings them, the descriptor's class and what of it is the name's value."""

    hook: str
    descriptor: str
    attribute: str
    spelt: str
    first_party: dict[str, str]


_PROVIDERS = _Kind("skyward_providers", "ProviderDescriptor", "settings", "sky", FIRST_PARTY)
_INTEGRATIONS = _Kind(
    "skyward_integrations", "IntegrationDescriptor", "factory", "sky.integrations", FIRST_PARTY_INTEGRATIONS
)


def _canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _disabled(distribution: str) -> bool:
    value = os.environ.get("SKYWARD_DISABLE_PLUGINS", "").strip()
    if value.lower() in ("1", "true", "yes", "all"):
        return True
    return distribution in {_canonical(name.strip()) for name in value.split(",")}


class _Registry:
    """What the installed plugins bring, each name with the distribution that brings it."""

    def __init__(self) -> None:
        import pluggy

        from skyward import _builtins
        from skyward.spi import hooks

        self.loaded: dict[str, _Source] = {}
        self.broken: dict[str, PluginError] = {}
        self.clashes: dict[tuple[_Kind, str], PluginError] = {}
        self.tables: dict[_Kind, dict[str, tuple[Any, _Source]]] = {_PROVIDERS: {}, _INTEGRATIONS: {}}
        self._manager: pluggy.PluginManager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hooks)
        self._add(_builtins, _Source(CORE, ""))
        for source, entry in _entries():
            try:
                self._add(entry.load(), source)
            except Exception as error:  # noqa: BLE001  a plugin may fail in any way; its names say so when they are used
                self.broken[source.name] = broken = PluginError(
                    f"the plugin {source} cannot be used: {type(error).__name__}: {error}; repair or uninstall it, or "
                    f"set SKYWARD_DISABLE_PLUGINS={source.name}"
                )
                broken.__cause__ = error
                _log.warning("%s", broken)

    def _add(self, plugin: object, source: _Source) -> None:
        """Register a plugin, all of it or nothing."""
        self._manager.register(plugin, name=source.name)
        try:
            self._manager.check_pending()
            found = [(kind, list(self._ask(kind, plugin))) for kind in self.tables]
        except BaseException:
            self._manager.unregister(name=source.name)
            raise
        self.loaded[source.name] = source
        for kind, pairs in found:
            for name, value in pairs:
                self._claim(kind, name, value, source)

    def _ask(self, kind: _Kind, plugin: object) -> Iterator[tuple[str, Any]]:
        """The names and values that one plugin brings."""
        from skyward.spi import hooks

        expected: type = getattr(hooks, kind.descriptor)
        for implementation in getattr(self._manager.hook, kind.hook).get_hookimpls():
            if implementation.plugin is plugin:
                for descriptor in implementation.function():
                    if not isinstance(descriptor, expected):
                        raise TypeError(f"{kind.hook} must give {kind.descriptor} objects, not {descriptor!r}")
                    name = getattr(descriptor, "name", None)
                    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
                        raise ValueError(f"{kind.hook} gives the name {name!r}, which {kind.spelt}.<name> cannot have")
                    yield name, getattr(descriptor, kind.attribute)

    def _claim(self, kind: _Kind, name: str, value: Any, source: _Source) -> None:
        table = self.tables[kind]
        if kind is _PROVIDERS and source.name != CORE and name in OWN:
            _log.warning("%s provides %r, which is a name of skyward itself: it is left out", source, name)
        elif name in table:
            other = table[name][1]
            if other.name == CORE:
                _log.warning("%s provides %r, which is a name of skyward itself: it is left out", source, name)
                return
            error = PluginError(
                f"{other} and {source} both provide {kind.spelt}.{name}: uninstall one, or set "
                f"SKYWARD_DISABLE_PLUGINS={source.name}"
            )
            self.clashes[kind, name] = error
            _log.warning("%s", error)
        else:
            table[name] = (value, source)


def _entries() -> Iterator[tuple[_Source, EntryPoint]]:
    """The entry points of installed plugins; of a distribution that is found twice, the first one on the path."""
    seen: set[str] = {CORE}
    for found in distributions():
        entries = found.entry_points.select(group=GROUP)
        name = _name_of(found) if entries else ""
        if name and name not in seen:
            seen.add(name)
            if not _disabled(name):
                for entry in entries:
                    yield _Source(name, found.version), entry


def _name_of(found: Distribution) -> str:
    try:
        return _canonical(found.metadata.get("Name") or "")
    except (AttributeError, OSError):  # no metadata at all: what an interrupted installation left behind
        return ""


_lock = threading.RLock()
_made: list[_Registry] = []


def _registry() -> _Registry:
    with _lock:
        if not _made:
            _made.append(_Registry())
        return _made[0]


def forget() -> None:
    """Discover anew at the next name; for tests that install plugins."""
    with _lock:
        _made.clear()


def provider(name: str) -> Any:
    """Return what ``sky.<name>`` is.

    Raises:
        PluginNotInstalled: the name is known, its distribution is missing.
        PluginError: its distribution is installed and broken, or two distributions provide it.
        AttributeError: nobody provides it; near matches, core's own included, or else what is installed are named.
    """
    return _resolve(_PROVIDERS, name)


def integration(name: str) -> Any:
    """Return what ``sky.integrations.<name>`` is; errors as of :func:`provider`."""
    return _resolve(_INTEGRATIONS, name)


def provider_names() -> list[str]:
    """Names of the providers that are there."""
    return sorted(_registry().tables[_PROVIDERS])


def integration_names() -> list[str]:
    """Names of the integrations that are there."""
    return sorted(_registry().tables[_INTEGRATIONS])


def _resolve(kind: _Kind, name: str) -> Any:
    registry = _registry()
    if (kind, name) in registry.clashes:
        raise registry.clashes[kind, name]
    table = registry.tables[kind]
    if name in table:
        return table[name][0]
    distribution = kind.first_party.get(name)
    if distribution is not None:
        raise _missing(registry, f"{kind.spelt}.{name}", distribution)
    from skyward.model.nearest import near_matches

    near = near_matches(name, {*table, *kind.first_party, *(OWN if kind is _PROVIDERS else ())})
    hint = ": did you mean " + " or ".join(map(repr, near)) + "?" if near else ""
    installed = f"; installed plugins provide {', '.join(sorted(table)) or 'nothing here'}"
    broken = "".join(f"; {error}" for error in registry.broken.values())
    raise AttributeError(f"{kind.spelt}.{name} does not exist{hint}{'' if near else installed}{broken}") from next(
        iter(registry.broken.values()), None
    )


def _missing(registry: _Registry, spelt: str, distribution: str) -> PluginError:
    """The error for a name of this project's own that is not there, although it is known who provides it."""
    if distribution in registry.broken:
        broken = registry.broken[distribution]
        error = PluginError(f"{spelt} is provided by {distribution}: {broken}")
        error.__cause__ = broken.__cause__
        return error
    if _disabled(distribution):
        return PluginNotInstalled(f"{spelt} is provided by {distribution}, which SKYWARD_DISABLE_PLUGINS turns off")
    if distribution in registry.loaded:
        return PluginError(
            f"{spelt} is provided by {distribution}, of which {registry.loaded[distribution].version} is installed, "
            f"and that does not have it: pip install --upgrade {distribution}"
        )
    return PluginNotInstalled(
        f"{spelt} is provided by {distribution}, which is not installed: pip install {distribution}"
    )
