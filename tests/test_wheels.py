"""Each package builds, holds what it should, and works installed alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = sorted(path.parent.name for path in ROOT.glob("skyward-*/pyproject.toml"))

# What a user or an author of plugins imports from each package; a plugin has one module.
SURFACES = {"skyward-core": ["skyward", "skyward.spi", "skyward.testing"]}

# Run by the Python of the new environment: the plugin module loads, every public name resolves or says which extra it
# needs, and the data files of the package are there.
PROBE = """
import importlib, importlib.metadata, pathlib, sys
def resolves(module, name):
    try:
        return hasattr(module, name)
    except ValueError as error:
        return "pip install 'skyward-core[" in str(error)
for point in importlib.metadata.entry_points(group="skyward"):
    point.load()
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    missing = [public for public in getattr(module, "__all__", ()) if not resolves(module, public)]
    assert not missing, (name, missing)
root = pathlib.Path(importlib.import_module(sys.argv[1]).__file__).parent
assert "site-packages" in root.parts, root
files = (path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
print(*(path.relative_to(root) for path in files), sep="\\n")
"""


def names_in(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def package_files(folder: Path) -> set[str]:
    """What git tracks or would track of a package's source, relative to ``src``."""
    source = folder / "src"
    command = ["git", "-C", str(source), "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {name for name in found if (source / name).is_file()}


def test_every_package_of_the_workspace_has_a_wheel(wheels: dict[str, Path]) -> None:
    assert sorted(wheels) == ["skyward", *MEMBERS]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_wheel_holds_the_sources_the_data_and_the_licence_and_nothing_else(
    name: str, wheels: dict[str, Path]
) -> None:
    held = names_in(wheels[name])
    info = {entry for entry in held if ".dist-info/" in entry}
    assert set(held) - info == package_files(ROOT / name)
    assert any(entry.endswith("licenses/LICENSE") for entry in info)
    package = SURFACES.get(name, [name.replace("-", "_")])[0]
    assert f"{package}/py.typed" in held


@pytest.mark.parametrize("name", MEMBERS)
def test_a_package_has_one_entry_point_that_names_a_module_of_its_own(name: str, wheels: dict[str, Path]) -> None:
    archive = zipfile.ZipFile(wheels[name])
    points = ConfigParser()
    points.read_string(archive.read(next(x for x in archive.namelist() if x.endswith("entry_points.txt"))).decode())
    [module] = points["skyward"].values()
    path = module.partition(":")[0].replace(".", "/")
    assert {f"{path}.py", f"{path}/__init__.py"} & set(archive.namelist())


def test_the_root_distribution_has_no_code_and_needs_core(wheels: dict[str, Path]) -> None:
    held = names_in(wheels["skyward"])
    assert all(".dist-info/" in entry for entry in held), held
    metadata = zipfile.ZipFile(wheels["skyward"]).read(next(entry for entry in held if entry.endswith("/METADATA")))
    assert b"\nRequires-Dist: skyward-core<0.2,>=0.1" in metadata


def install(uv: str, wheels: dict[str, Path], name: str, environ: dict[str, str], folder: Path) -> Path:
    """A new virtual environment with the wheel of ``name`` and what it says that it needs; its Python."""
    python = folder / "venv" / "bin" / "python"
    found = next(iter(wheels.values())).parent
    base = Path(getattr(sys, "_base_executable", sys.executable))
    for command in (
        [uv, "venv", "--quiet", "--python", str(base), str(python.parent.parent)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "--find-links", str(found), str(wheels[name])],
    ):
        # Away from the repository: its pyproject.toml would point uv at the sources beside it.
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("name", ["skyward", *MEMBERS])
def test_a_wheel_installed_alone_offers_its_surface(
    name: str, uv: str, wheels: dict[str, Path], clean_environ: dict[str, str], tmp_path: Path
) -> None:
    python = install(uv, wheels, name, clean_environ, tmp_path)
    distribution = "skyward-core" if name == "skyward" else name
    surface = SURFACES.get(distribution, [distribution.replace("-", "_")])
    command = [str(python), "-I", "-W", "error", "-c", PROBE, *surface]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = subprocess.run([str(python.parent / "skyward"), "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("skyward 0."), told
    package = surface[0].partition(".")[0]
    data = {name for name in package_files(ROOT / distribution) if not name.endswith(".py")}
    assert {f"{package}{os.sep}{path}" for path in done.stdout.split()} == data


USERS_TESTS = """
import pytest
import skyward as sky

pytestmark = pytest.mark.usefixtures("skyward_no_leaks")

@sky.compute
def where():
    import skyward
    return skyward.__file__

def test_nodes(skyward_pool):
    places = set(where() @ sky)
    assert len(places) == 1
    assert "site-packages" in places.pop()

@pytest.mark.skyward_cloud(boot_seconds=60)
def test_cloud(skyward_cloud):
    skyward_cloud.script("launch", sky.Unavailable("sold out"))
    with sky.ComputePool(skyward_cloud.provider, display="quiet") as pool:
        assert where() >> pool
    assert skyward_cloud.clock.monotonic() == 60

def test_left():
    sky.ComputePool(display="quiet").__enter__()
"""


def test_pytest_finds_the_fixtures_of_an_installed_wheel(
    uv: str, wheels: dict[str, Path], clean_environ: dict[str, str], tmp_path: Path
) -> None:
    python = install(uv, wheels, "skyward-core", clean_environ, tmp_path)
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    bring = [uv, "pip", "install", "--quiet", "--python", str(python), "pytest>=8.3"]
    subprocess.run(bring, cwd=tmp_path, env=clean_environ, check=True)
    command = [str(python), "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "test_users.py"]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environ, capture_output=True, text=True, check=False)
    assert "plugins: skyward-core" in done.stdout, done.stdout + done.stderr
    assert "= 3 passed, 1 error in" in done.stdout, done.stdout
    assert "the pool" in done.stdout
    assert "entered and not left" in done.stdout


def test_no_package_imports_another_that_it_does_not_name(members: list[Any]) -> None:
    """Installed alone shows what is missing at import; this shows what would be missing later."""
    for member in members:
        allowed = {"skyward", member.import_name, *(other.import_name for other in members if needs(member, other))}
        for path in (member.folder / "src").rglob("*.py"):
            named = re.findall(r"^\s*(?:from|import) (skyward\w*)", path.read_text(), re.MULTILINE)
            # Core names its first-party plugins for type checkers, never at run time; ruff and the layers see to that.
            assert member.name == "skyward-core" or set(named) <= allowed, path


def needs(member: Any, other: Any) -> bool:
    return any(re.match(rf"{other.name}\b(?!-)", requirement) for requirement in member.project["dependencies"])
