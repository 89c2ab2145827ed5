"""Loading plugins and asking each what it brings. The only module that runs pluggy.

A plugin is registered as a whole or not at all, and one that cannot be loaded costs its own names only.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Iterator
from typing import Any

import pluggy
from attrs import Factory, define

from skyward import _builtins, _discovery
from skyward._discovery import CORE, GROUP, Found, Source
from skyward._hooks import Hook, Hooks
from skyward._places import OWN
from skyward._plugins_kinds import KINDS, PROVIDERS, Kind
from skyward.errors import PluginError
from skyward.model.nearest import near_matches
from skyward.model.plugin import PluginInfo
from skyward.spi import hooks as specifications

__all__ = ["Plugin", "Registry"]

_log = logging.getLogger("skyward.plugins")

SLOW = 1.0
"""Seconds of loading from which on a plugin is named in the log."""

_PREFIX = "skyward_"
_FIRST_PARTY = {distribution for kind in KINDS for distribution in kind.first_party.values()}
_IMAGE, _STEPS, _OBSERVE = "skyward_image", "skyward_bootstrap_steps", "skyward_on_event"


@define(eq=False)
class Plugin:
    """An installed distribution, and what has become of it."""

    source: Source
    off: bool = False
    broken: PluginError | None = None
    problems: list[str] = Factory(list)
    hooks: tuple[str, ...] = ()


class Registry:
    """What the installed plugins bring, each name with the distribution that brings it."""

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.tables: dict[Kind, dict[str, tuple[Any, Source]]] = {kind: {} for kind in KINDS}
        self.clashes: dict[tuple[Kind, str], PluginError] = {}
        self._claims: dict[tuple[Kind, str], list[tuple[Any, Source]]] = {}
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(specifications)
        self._known = [name for name, value in vars(specifications).items() if hasattr(value, "skyward_spec")]
        self._register(_builtins, Plugin(Source(CORE, _core_version())))
        for found in _discovery.discover():
            self._load(found)
        self._tell_misspelt()
        for (kind, name), claims in self._claims.items():
            self._settle(kind, name, claims)
        self.hooks = Hooks(
            self._implementations(_IMAGE), self._implementations(_STEPS), self._implementations(_OBSERVE)
        )

    def _tell_misspelt(self) -> None:
        """Warn of what is to be turned off and is not there, if it looks like something that is."""
        shown = {name.removeprefix("skyward-"): name for name in self.plugins}
        known = {*self.plugins, *_FIRST_PARTY}
        for name in sorted(_discovery.named_off() - known) if not _discovery.all_disabled() else ():
            if near := near_matches(name.removeprefix("skyward-"), shown):
                _log.warning(
                    "%s names %s, which is not installed: did you mean %r?", _discovery.VARIABLE, name, shown[near[0]]
                )

    # one plugin

    def _load(self, found: Found) -> None:
        source = found.source
        plugin = self.plugins[source.name] = Plugin(source, found.off)
        if found.off:
            plugin.problems.append(f"{_discovery.VARIABLE} turns it off")
            return
        begun = time.monotonic()
        try:
            if len(found.entries) > 1:
                raise ValueError(f"it has {len(found.entries)} entry points in the group {GROUP!r}, not one")
            self._register(found.entries[0].load(), plugin)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin may fail in any way; its names say so when used
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            plugin.problems.append(said)
            plugin.broken = PluginError(
                f"the plugin {source} cannot be used: {said}; repair or uninstall it, or set "
                f"{_discovery.VARIABLE}={source.name}"
            )
            plugin.broken.__cause__ = error
            _log.warning("%s", plugin.broken)
        taken = time.monotonic() - begun
        if taken > SLOW:
            _log.warning(
                "the plugin %s took %.1f s to load: its module should import what takes long when a pool is entered",
                source,
                taken,
            )

    def _register(self, module: object, plugin: Plugin) -> None:
        """Register a plugin, all of it or nothing."""
        name = plugin.source.name
        if isinstance(module, type):
            raise TypeError(f"its entry point is the class {module.__name__}, not a module or an object")
        try:
            self._manager.register(module, name=name)
            self._check(module)
            brought = [(kind, *pair) for kind in KINDS for pair in self._ask(kind, module)]
        except BaseException:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise
        self.plugins[name] = plugin
        callers = self._manager.get_hookcallers(module) or ()
        plugin.hooks = tuple(sorted({caller.name for caller in callers} & {_IMAGE, _STEPS, _OBSERVE}))
        for kind, named, value in brought:
            self._claims.setdefault((kind, named), []).append((value, plugin.source))

    def _check(self, module: object) -> None:
        """Refuse what would silently do nothing or something else: it is said here what is wrong with it."""
        for caller in self._manager.get_hookcallers(module) or ():
            for each in caller.get_hookimpls():
                if each.plugin is not module:
                    continue
                if not caller.has_spec():
                    if not each.optionalhook:
                        raise ValueError(f"there is no hook {caller.name!r}{_meant(caller.name, self._known)}")
                    continue
                if each.wrapper or each.hookwrapper:
                    raise ValueError(f"{caller.name} is a wrapper, and hooks of skyward are plain functions")
                if inspect.iscoroutinefunction(each.function) or inspect.isasyncgenfunction(each.function):
                    raise ValueError(f"{caller.name} is async, and nothing awaits it: hooks are plain functions")
                if caller.name in (_IMAGE, _OBSERVE) and inspect.isgeneratorfunction(each.function):
                    raise ValueError(f"{caller.name} is a generator, so that calling it does nothing: use no yield")
        for name in self._known:
            function = getattr(module, name, None)
            if (
                inspect.isroutine(function)
                and not hasattr(function, "skyward_impl")
                and not hasattr(function, "skyward_spec")
            ):
                raise ValueError(f"{name} is not marked: put @hookimpl on it")

    def _ask(self, kind: Kind, module: object) -> Iterator[tuple[str, Any]]:
        """The names and values of one kind that one plugin brings."""
        expected: type = getattr(specifications, kind.descriptor)
        seen: set[str] = set()
        for implementation in getattr(self._manager.hook, kind.hook).get_hookimpls():
            if implementation.plugin is module:
                for descriptor in implementation.function():
                    if not isinstance(descriptor, expected):
                        raise TypeError(f"{kind.hook} must give {kind.descriptor} objects, not {descriptor!r}")
                    name, value = kind.read(descriptor)
                    if name in seen:
                        raise ValueError(f"{kind.hook} gives the name {name!r} twice")
                    seen.add(name)
                    yield name, value

    def _implementations(self, name: str) -> tuple[Hook, ...]:
        """The implementations of a hook: those marked ``tryfirst``, the others, those marked ``trylast``; each by name.

        pluggy's own order is that of registration turned round; here the distribution's name decides.
        """
        found = getattr(self._manager.hook, name).get_hookimpls()
        found.sort(key=lambda each: (each.trylast - each.tryfirst, each.plugin_name))
        return tuple(
            Hook(name, str(self.plugins[each.plugin_name].source), each.function, tuple(each.argnames))
            for each in found
        )

    # all together

    def _settle(self, kind: Kind, name: str, claims: list[tuple[Any, Source]]) -> None:
        """Decide who has a name: core goes before all others, and of several others nobody."""
        if claims[0][1].name == CORE or (kind is PROVIDERS and name in OWN):
            if claims[0][1].name == CORE:
                self.tables[kind][name] = claims.pop(0)
            for _, source in claims:
                said = f"provides {kind.spelt(name)}, which is a name of skyward itself: it is left out"
                self.plugins[source.name].problems.append(said)
                _log.warning("%s %s", source, said)
        elif len(claims) == 1:
            self.tables[kind][name] = claims[0]
        else:
            *others, last = [source for _, source in claims]
            all_of_them, remedy = ("both", "one") if len(claims) == 2 else ("all", "all but one")
            error = PluginError(
                f"{', '.join(map(str, others))} and {last} {all_of_them} provide {kind.spelt(name)}: uninstall "
                f"{remedy}, or set {_discovery.VARIABLE}={','.join(source.name for _, source in claims[1:])}"
            )
            self.clashes[kind, name] = error
            for _, source in claims:
                self.plugins[source.name].problems.append(str(error))
            _log.warning("%s", error)

    @property
    def broken(self) -> list[PluginError]:
        """Why plugins cannot be used."""
        return [plugin.broken for plugin in self.plugins.values() if plugin.broken is not None]

    def describe(self) -> tuple[PluginInfo, ...]:
        """Every plugin for people to read, core's own first."""
        return tuple(
            PluginInfo(
                distribution=plugin.source.name,
                version=plugin.source.version,
                hooks=plugin.hooks,
                problem="; ".join(plugin.problems) or None,
                **{
                    kind.plural: tuple(
                        sorted(name for name, (_, by) in self.tables[kind].items() if by == plugin.source)
                    )
                    for kind in KINDS
                },
            )
            for plugin in self.plugins.values()
        )


def _meant(name: str, known: list[str]) -> str:
    """The hooks that a misspelt one is near to; what all of them begin with says nothing about that."""
    bare = near_matches(name.removeprefix(_PREFIX), [each.removeprefix(_PREFIX) for each in known])
    if bare:
        return ": did you mean " + " or ".join(repr(_PREFIX + each) for each in bare) + "?"
    return "; choose from " + ", ".join(sorted(known))


def _core_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(CORE)
    except PackageNotFoundError:  # run from its source
        return "(not installed)"
