"""Finding plugins and asking them what they bring. The only importer of pluggy's manager.

Discovery runs once, at the first plugin name that is asked for, and never at ``import skyward``. ``SKYWARD_DISABLE_PLUGINS``
turns installed plugins off: ``1`` for all, or a comma-separated list of distributions. Core's own are not concerned.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distributions
from typing import TYPE_CHECKING, Any

from skyward.errors import PluginError, PluginNotInstalled

if TYPE_CHECKING:
    import pluggy

    from skyward.spi.provider import Provider

__all__ = ["FIRST_PARTY", "integration", "integration_names", "provider", "provider_names"]

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


def _disabled(distribution: str) -> bool:
    value = os.environ.get("SKYWARD_DISABLE_PLUGINS", "").strip()
    if value.lower() in ("1", "true", "yes", "all"):
        return True
    return distribution in {name.strip() for name in value.split(",")}


class _Registry:
    """What the installed plugins bring, each name with the distribution that brings it."""

    def __init__(self) -> None:
        import pluggy

        from skyward import _builtins
        from skyward.spi import hooks

        self.providers: dict[str, tuple[Callable[..., Provider], str]] = {}
        self.integrations: dict[str, tuple[Any, str]] = {}
        self.broken: dict[str, tuple[str, Exception]] = {}
        self._manager: pluggy.PluginManager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hooks)
        self._add(_builtins, CORE, "")
        for found in distributions():
            for entry in found.entry_points.select(group=GROUP):
                self._load(found, entry)

    def _load(self, found: Distribution, entry: Any) -> None:
        name = found.name
        if name == CORE or _disabled(name):
            return
        try:
            self._add(entry.load(), name, found.version)
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way; its names say so when they are used
            self.broken[name] = (found.version, error)

    def _add(self, plugin: object, distribution: str, version: str) -> None:
        import pluggy

        try:
            self._manager.register(plugin, name=distribution)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._manager.unregister(name=distribution)
            raise PluginError(f"{distribution} {version} implements a hook wrongly: {error}") from error
        self._collect("skyward_providers", self.providers, "settings", plugin, distribution)
        self._collect("skyward_integrations", self.integrations, "factory", plugin, distribution)

    def _collect(
        self, hook: str, table: dict[str, tuple[Any, str]], attribute: str, plugin: object, distribution: str
    ) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin:
                for descriptor in implementation.function():
                    self._claim(table, descriptor.name, getattr(descriptor, attribute), distribution)

    @staticmethod
    def _claim(table: dict[str, tuple[Any, str]], name: str, value: Any, distribution: str) -> None:
        if name in table:
            raise PluginError(
                f"{table[name][1]} and {distribution} both provide {name!r}: uninstall one, or set "
                f"SKYWARD_DISABLE_PLUGINS={distribution}"
            )
        table[name] = (value, distribution)


@functools.cache
def _registry() -> _Registry:
    return _Registry()


def provider(name: str, core: Iterable[str] = ()) -> Any:
    """Return what ``sky.<name>`` is. ``core`` are core's own names, for the near matches of a misspelt one.

    Raises:
        PluginNotInstalled: the name is known, its distribution is missing.
        PluginError: its distribution is installed and broken.
        AttributeError: nobody provides it.
    """
    return _resolve(_registry().providers, name, f"sky.{name}", FIRST_PARTY, core)


def integration(name: str) -> Any:
    """Return what ``sky.integrations.<name>`` is; errors as of :func:`provider`."""
    return _resolve(_registry().integrations, name, f"sky.integrations.{name}", FIRST_PARTY_INTEGRATIONS)


def provider_names() -> list[str]:
    """Names of the providers that are there."""
    return sorted(_registry().providers)


def integration_names() -> list[str]:
    """Names of the integrations that are there."""
    return sorted(_registry().integrations)


def _resolve(
    table: dict[str, tuple[Any, str]],
    name: str,
    spelt: str,
    first_party: dict[str, str],
    core: Iterable[str] = (),
) -> Any:
    if name in table:
        return table[name][0]
    registry = _registry()
    distribution = first_party.get(name)
    if distribution in registry.broken:
        version, error = registry.broken[distribution]
        raise PluginError(f"{spelt} is provided by {distribution} {version}, which fails to import: {error}") from error
    if distribution is not None:
        if _disabled(distribution):
            raise PluginNotInstalled(f"{spelt} is provided by {distribution}, which SKYWARD_DISABLE_PLUGINS turns off")
        raise PluginNotInstalled(
            f"{spelt} is provided by {distribution}, which is not installed: pip install {distribution}"
        )
    from skyward.model.nearest import did_you_mean

    hint = did_you_mean(name, {*table, *first_party, *core})
    broken = "".join(
        f"; {dist} {version} failed to import: {error}" for dist, (version, error) in registry.broken.items()
    )
    raise AttributeError(f"{spelt} does not exist{hint}{broken}")
