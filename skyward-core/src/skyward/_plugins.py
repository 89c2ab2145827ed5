"""What the installed plugins bring, found when it is first asked for.

Discovery runs once: at the first plugin name, or at the first pool where a plugin is installed at all; never at
``import skyward``. Core's own names are found without it, so that who has no plugins does not pay for any. A plugin
that cannot be loaded costs its own names only. ``SKYWARD_DISABLE_PLUGINS`` turns installed plugins off: ``1`` for
all, or a comma-separated list of distributions. Core's own are not concerned.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from skyward._discovery import VARIABLE, disabled, may_find
from skyward._hooks import Hooks
from skyward._places import OWN
from skyward._plugins_kinds import (
    ALLOCATIONS,
    FIRST_PARTY,
    FIRST_PARTY_INTEGRATIONS,
    INTEGRATIONS,
    PROVIDERS,
    SELECTORS,
    Kind,
)
from skyward._uncollected import uncollected
from skyward.errors import ConfigurationError, PluginError, PluginNotInstalled

if TYPE_CHECKING:
    from skyward._plugins_registry import Registry
    from skyward.model.allocation import AllocationStrategy
    from skyward.model.plugin import PluginInfo
    from skyward.spi.selector import Selector

__all__ = [
    "FIRST_PARTY",
    "FIRST_PARTY_INTEGRATIONS",
    "allocation",
    "allocation_names",
    "hooks",
    "installed_plugins",
    "integration",
    "integration_names",
    "provider",
    "provider_names",
    "selector",
    "selector_names",
]

_lock = threading.RLock()
_made: list[Registry] = []
_loading = False


def _registry() -> Registry:
    global _loading
    with _lock:
        if _made:
            return _made[0]
        if _loading:  # by this very thread: the lock lets nobody else in
            raise PluginError(
                "a plugin asks for the name of a plugin while plugins are being loaded: import from that plugin's own "
                "module instead, as in `from skyward_acme import Acme`"
            )
        _loading = True
        try:
            with uncollected():
                from skyward._plugins_registry import Registry

                _made.append(Registry())
        finally:
            _loading = False
        return _made[0]


def forget() -> None:
    """Discover anew at the next name; for tests that install plugins."""
    with _lock:
        _made.clear()


# names


def provider(name: str) -> Any:
    """Return what ``sky.<name>`` is.

    Raises:
        PluginNotInstalled: the name is known, its distribution is missing or turned off.
        PluginError: its distribution is installed and broken, or several distributions provide it.
        AttributeError: nobody provides it; near matches, core's own included, or else what is installed are named.
    """
    return _resolve(PROVIDERS, name)


def integration(name: str) -> Any:
    """Return what ``sky.integrations.<name>`` is; errors as of :func:`provider`."""
    return _resolve(INTEGRATIONS, name)


def selector(name: str) -> Selector:
    """Return what ``selection="<name>"`` means.

    Raises:
        ConfigurationError: nobody provides it; near matches, or else what is installed are named.
        PluginError: several distributions provide it.
    """
    from skyward._handles import SELECTORS as OWN_SELECTORS

    found: Selector = OWN_SELECTORS[name] if name in OWN_SELECTORS else _resolve(SELECTORS, name)
    return found


def allocation(name: str) -> AllocationStrategy:
    """Return what ``allocation="<name>"`` means; errors as of :func:`selector`."""
    from skyward.model.allocation import ALLOCATIONS as OWN_ALLOCATIONS

    found: AllocationStrategy = OWN_ALLOCATIONS[name] if name in OWN_ALLOCATIONS else _resolve(ALLOCATIONS, name)
    return found


def provider_names() -> list[str]:
    """Names of the providers that are there."""
    return sorted(_registry().tables[PROVIDERS])


def integration_names() -> list[str]:
    """Names of the integrations that are there."""
    return sorted(_registry().tables[INTEGRATIONS])


def selector_names() -> list[str]:
    """Names that ``selection=`` takes."""
    return sorted(_registry().tables[SELECTORS])


def allocation_names() -> list[str]:
    """Names that ``allocation=`` takes."""
    return sorted(_registry().tables[ALLOCATIONS])


def _resolve(kind: Kind, name: str) -> Any:
    registry = _registry()
    if (kind, name) in registry.clashes:
        raise registry.clashes[kind, name]
    table = registry.tables[kind]
    if name in table:
        return table[name][0]
    distribution = kind.first_party.get(name)
    if distribution is not None:
        raise _missing(registry, kind.spelt(name), distribution)
    raise _unknown(registry, kind, name)


def _unknown(registry: Registry, kind: Kind, name: str) -> Exception:
    """The error for a name of which nobody knows who provides it."""
    from skyward.model.nearest import near_matches

    table = registry.tables[kind]
    near = near_matches(name, {*table, *kind.first_party, *(OWN if kind is PROVIDERS else ())})
    if near:
        hint = ": did you mean " + " or ".join(map(repr, near)) + "?"
    elif kind in (SELECTORS, ALLOCATIONS):
        hint = f"; choose from {', '.join(sorted(table))}"
    else:
        hint = f"; installed plugins provide {', '.join(sorted(table)) or 'nothing here'}"
    # Whose name it is nobody can know: a plugin that is broken or turned off might have brought it.
    hint += "".join(f"; {error}" for error in registry.broken)
    off = [str(plugin.source) for plugin in registry.plugins.values() if plugin.off]
    if off:
        hint += f"; {VARIABLE} turns off {', '.join(off)}"
    kind_of_error = AttributeError if kind in (PROVIDERS, INTEGRATIONS) else ConfigurationError
    error = kind_of_error(f"{kind.spelt(name)} does not exist{hint}")
    error.__cause__ = next(iter(registry.broken), None)
    if isinstance(error, AttributeError):
        error.name = name  # or Python adds what it would have guessed
    return error


def _missing(registry: Registry, spelt: str, distribution: str) -> PluginError:
    """The error for a name of this project's own that is not there, although it is known who provides it."""
    plugin = registry.plugins.get(distribution)
    if plugin is not None and plugin.broken is not None:
        error = PluginError(f"{spelt} is provided by {distribution}: {plugin.broken}")
        error.__cause__ = plugin.broken.__cause__
        return error
    if disabled(distribution):
        return PluginNotInstalled(f"{spelt} is provided by {distribution}, which {VARIABLE} turns off")
    if plugin is not None:
        return PluginError(
            f"{spelt} is provided by {distribution}, of which {plugin.source.version} is installed, "
            f"and that does not have it: pip install --upgrade {distribution}"
        )
    return PluginNotInstalled(
        f"{spelt} is provided by {distribution}, which is not installed: pip install {distribution}"
    )


# pools


def hooks() -> Hooks:
    """The hooks by which installed plugins change and observe pools; none, found out cheaply, where there are none."""
    if not _made and not may_find():
        return Hooks()
    return _registry().hooks


def installed_plugins() -> tuple[PluginInfo, ...]:
    """What is installed: one `PluginInfo` for each distribution that brings a plugin, skyward-core first.

    Those that are broken or turned off are listed as well, with the reason as their ``problem``. Loads the plugins,
    once for the life of the program: what is installed or turned off later does not show.

        for plugin in sky.installed_plugins():
            print(plugin)
    """
    return _registry().describe()
