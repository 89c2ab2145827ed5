"""Installs plugins where Python finds them, as an installer would, and writes their modules."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest

import skyward as sky
from skyward import _plugins

type Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts distributions with a plugin where Python finds them, as an installer would."""
    monkeypatch.delenv("SKYWARD_DISABLE_PLUGINS")
    monkeypatch.syspath_prepend(str(tmp_path))
    _hide_others(monkeypatch, tmp_path)
    _plugins.forget()  # what tests before have asked for,
    for module, known in ((sky, _plugins.FIRST_PARTY), (sky.integrations, _plugins.FIRST_PARTY_INTEGRATIONS)):
        for name in known:
            monkeypatch.delitem(vars(module), name, raising=False)  # and what the modules keep of that
    before = set(sys.modules)

    def put(distribution: str, code: str, version: str = "1.2.3", folder: Path = tmp_path) -> None:
        module = f"plugin_{len(list(folder.glob('*.py')))}_{tmp_path.name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[skyward]\nmain = {module}\n")
        _plugins.forget()

    yield put
    _plugins.forget()
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


def _hide_others(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let only core and what is put into the folder be found, whichever plugins are installed beside."""
    everything = importlib.metadata.distributions

    def distributions() -> Iterable[Distribution]:
        for found in everything():
            plugin = found.entry_points.select(group="skyward") and found.metadata.get("Name") != "skyward-core"
            if not plugin or Path(str(found.locate_file(""))).is_relative_to(folder):
                yield found

    monkeypatch.setattr(importlib.metadata, "distributions", distributions)


def providers(*names: str) -> str:
    """The module of a plugin that brings these providers."""
    found = ", ".join(f"ProviderDescriptor(name={name!r}, settings={name!r}.lower)" for name in names)
    return f"""
    from skyward.spi import ProviderDescriptor, hookimpl
    @hookimpl
    def skyward_providers():
        return [{found}]
    """


def integrations(*names: str) -> str:
    """The module of a plugin that brings these integrations."""
    found = ", ".join(f"IntegrationDescriptor(name={name!r}, factory={name!r}.lower)" for name in names)
    return f"""
    from skyward.spi import IntegrationDescriptor, hookimpl
    @hookimpl
    def skyward_integrations():
        return [{found}]
    """


def selectors(*names: str) -> str:
    """The module of a plugin whose selectors choose the last provider."""
    found = ", ".join(f"SelectorDescriptor(name={name!r}, select=last)" for name in names)
    return f"""
    from skyward.spi import SelectorDescriptor, hookimpl
    def last(providers, spec):
        return providers[-1]
    @hookimpl
    def skyward_selectors():
        return [{found}]
    """


def allocations(*names: str) -> str:
    """The module of a plugin whose strategies take every offer as it comes."""
    found = ", ".join(f"AllocationDescriptor(name={name!r}, strategy=Whatever())" for name in names)
    return f"""
    from skyward.spi import AllocationDescriptor, Tranche, hookimpl
    class Whatever:
        name = "whatever"
        def allocate(self, candidates, nodes):
            return [Tranche(nodes, candidates)]
    @hookimpl
    def skyward_allocations():
        return [{found}]
    """
