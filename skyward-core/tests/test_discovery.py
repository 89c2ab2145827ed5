"""Which installed distributions bring a plugin: found cheaply, and never overlooked."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import DistributionFinder
from pathlib import Path

import pytest
from plugin_fakes import Install, providers

from skyward import _discovery
from skyward._payload import stage


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is ``sys.path`` beside the standard library."""
    library = sysconfig.get_paths()
    monkeypatch.delenv("SKYWARD_DISABLE_PLUGINS")
    monkeypatch.setattr(
        sys, "path", [str(tmp_path), library["stdlib"], library["platstdlib"], library["platstdlib"] + "/lib-dynload"]
    )
    return tmp_path


def put(folder: Path, points: str) -> None:
    folder.mkdir(parents=True)
    (folder / "entry_points.txt").write_text(points)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")


POINTS = "[console_scripts]\nx = y\n\n[skyward]\nmain = acme\n"


def test_nothing_is_found_where_nothing_is(site: Path) -> None:
    sys.path += [str(site / "missing"), ""]
    assert not _discovery.may_find()
    assert _discovery.discover() == []


@pytest.mark.parametrize("name", ["acme-1.0.dist-info", "acme.egg-info", "ACME-1.0.DIST-INFO", "EGG-INFO"])
def test_what_installers_leave_is_found(site: Path, name: str) -> None:
    put(site / name, POINTS)
    assert _discovery.may_find()


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("acme-1.0.dist-info", "[console_scripts]\nx = y\n[skyward2]\nx = y\n"),
        ("skyward_core-0.1.0.dist-info", POINTS),
        ("skyward.core.egg-info", POINTS),
        ("acme-1.0.dist-info.old", POINTS),
    ],
)
def test_other_entry_points_and_those_of_core_are_no_plugin(site: Path, name: str, points: str) -> None:
    put(site / name, points)
    assert not _discovery.may_find()


def test_a_file_where_a_folder_is_expected_is_no_plugin(site: Path) -> None:
    (site / "old.egg-info").write_text("Name: old\n")
    assert not _discovery.may_find()


def test_what_the_cheap_look_cannot_read_means_a_whole_discovery(site: Path) -> None:
    archive = site / "packages.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("acme-1.0.dist-info/entry_points.txt", POINTS)
        written.writestr("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    sys.path.append(str(archive))
    assert _discovery.may_find()
    assert [str(found.source) for found in _discovery.discover()] == ["acme 1.0"]
    sys.path[-1] = str(site / "acme.egg")
    assert not _discovery.may_find()
    (site / "acme.egg").mkdir()
    assert _discovery.may_find()


def test_another_finder_of_distributions_means_a_whole_discovery(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(DistributionFinder):
        def find_distributions(self, context: object = None) -> Iterator[object]:  # type: ignore[override]
            return iter(())

    assert not _discovery.may_find()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Elsewhere()])
    assert _discovery.may_find()


def test_plugins_that_are_all_turned_off_are_not_looked_for(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site / "acme-1.0.dist-info", POINTS)
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "1")
    assert not _discovery.may_find()
    assert [found.off for found in _discovery.discover()] == [True]


# what goes to nodes


def test_the_packages_of_active_plugins_go_to_nodes(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install("acme-cloud", providers("Acme"))
    install("acme-off", providers("Off"))
    install("acme-gone", providers("Gone"))
    here, off, gone = (f"plugin_{number}_{tmp_path.name.replace('-', '_')}" for number in range(3))
    (tmp_path / f"{gone}.py").unlink()
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "acme-off")
    found = _discovery.packages()
    assert here in found
    assert off not in found
    assert gone not in found
    payload = asyncio.run(stage(found))
    assert (payload.front / f"{here}.py").exists(), "a module that is no package travels as well"
    assert (payload.front / "acme_cloud-1.2.3.dist-info" / "entry_points.txt").exists()


def test_without_plugins_nothing_more_goes_to_nodes() -> None:
    assert _discovery.packages() == ()
