"""The packages of the workspace fit together: one version, honest bounds, an extra of the root for each."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The extra of `skyward` under which each package is found.
EXTRAS = {
    "skyward-aws": "aws",
    "skyward-container": "container",
    "skyward-digitalocean": "digitalocean",
    "skyward-jax": "jax",
    "skyward-keras": "keras",
    "skyward-runpod": "runpod",
    "skyward-sklearn": "sklearn",
    "skyward-tensorflow": "tensorflow",
    "skyward-torch": "pytorch",
    "skyward-transformers": "huggingface",
    "skyward-vastai": "vastai",
    "skyward-verda": "verda",
}


@pytest.fixture
def plugins(members: list[Any]) -> list[Any]:
    return [member for member in members if member.name != "skyward-core"]


def bounds() -> str:
    """What a package of this version may ask of another one: ``>=X.Y,<X.(Y+1)``."""
    major, minor, *_ = PROJECT["version"].split(".")
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def test_all_packages_have_one_version_one_licence_and_one_oldest_python(members: list[Any]) -> None:
    for member in members:
        for field in ("version", "license", "requires-python"):
            assert member.project[field] == PROJECT[field], (member.name, field)
        assert (member.folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text(), member.name


def test_each_package_has_a_readme_a_source_and_tests(members: list[Any]) -> None:
    for member in members:
        for part in (
            "README.md",
            f"src/{member.import_name}/__init__.py",
            f"src/{member.import_name}/py.typed",
            "tests",
        ):
            assert (member.folder / part).exists(), f"{member.name} has no {part}"


def test_every_provider_of_ours_is_held_to_the_conformance_kit() -> None:
    from skyward._plugins_kinds import FIRST_PARTY

    for name, package in FIRST_PARTY.items():
        texts = [path.read_text(encoding="utf-8") for path in (ROOT / package / "tests").glob("test_*.py")]
        kit = rf"^class Test{name}\(ProviderConformance\):$"
        assert sum(len(re.findall(kit, text, re.MULTILINE)) for text in texts) == 1, name


def test_every_package_asks_for_the_core_of_its_own_version(plugins: list[Any]) -> None:
    assert f"skyward-core{bounds()}" in PROJECT["dependencies"]
    for member in plugins:
        assert f"skyward-core{bounds()}" in member.project["dependencies"], member.name


def test_the_root_has_an_extra_for_each_plugin_and_one_for_all(plugins: list[Any]) -> None:
    extras = dict(PROJECT.get("optional-dependencies", {}))
    everything = extras.pop("all", [])
    assert extras == {EXTRAS[member.name]: [f"{member.name}{bounds()}"] for member in plugins}
    named = {name for requirement in everything for name in re.findall(r"[\w-]+", requirement.partition("[")[2])}
    assert named == set(extras), "the extra `all` is skyward[...] with every other extra"


def test_every_dependency_has_a_lower_bound(members: list[Any]) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"].values()
    loose = [
        requirement
        for requirements in (*groups, *(member.project["dependencies"] for member in members))
        for requirement in requirements
        if isinstance(requirement, str) and ">=" not in requirement
    ]
    assert not loose


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


SURFACES = ("skyward", "skyward.spi", "skyward.testing")


def sources(members: list[Any]) -> list[Path]:
    """The code of every plugin of the workspace, and of the one that tests/plugin_seam has of somebody else's."""
    folders = [member.folder for member in members if member.name != "skyward-core"]
    return [path for folder in (*folders, ROOT / "tests/plugin_seam") for path in sorted(folder.glob("**/src/**/*.py"))]


def beyond_the_surfaces(text: str) -> set[str]:
    """Modules of core that a source imports, by a statement or by a name in a string, and that are no surface."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            private = [f"{node.module}.{alias.name}" for alias in node.names if alias.name.startswith("_")]
            found |= {node.module, *private}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"skyward\._\w+(\.\w+)*", str(node.value)):
            found.add(str(node.value))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"sky", "spi"}:
            found |= {f"skyward.{node.attr}"} if node.attr.startswith("_") else set()
    return {name for name in found if name.split(".")[0] == "skyward" and name not in SURFACES}


def test_plugins_are_built_on_the_public_surfaces_alone(members: list[Any]) -> None:
    checked = sources(members)
    assert {"skyward_container", "skyward_acme"} <= {path.parent.name for path in checked}
    beyond = {str(path.relative_to(ROOT)): beyond_the_surfaces(path.read_text()) for path in checked}
    assert not {path: names for path, names in beyond.items() if names}, f"import {', '.join(SURFACES)} instead"


@pytest.mark.parametrize(
    "text",
    [
        "from skyward._ssh import SshTransport",
        "import skyward.errors as errors",
        "def f():\n    from skyward.model.image import Image",
        "from skyward.spi.provider import Session",
        "from skyward import _road",
        "import_module('skyward._ssh')",
        "import skyward as sky\nsky._cache.cache_folder('x')",
    ],
)
def test_whatever_way_an_inner_module_is_imported_it_is_seen(text: str) -> None:
    assert beyond_the_surfaces(text)


@pytest.mark.parametrize(
    "text", ["import skyward as sky\nsky.Image()", "from skyward.spi import Session", "log('skyward.container is')"]
)
def test_the_surfaces_and_mere_words_are_let_be(text: str) -> None:
    assert not beyond_the_surfaces(text)


def test_the_worker_imports_the_standard_library_cloudpickle_and_itself_only() -> None:
    """A node may have nothing else; psutil and pynvml are asked for inside functions, and may be missing."""
    for path in (ROOT / "skyward-core/src/skyward/worker").rglob("*.py"):
        tree = ast.parse(path.read_text())
        lazy = {name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for name in imports(node)}
        for name in imports(tree):
            top = name.partition(".")[0]
            fits = top in sys.stdlib_module_names or top == "cloudpickle" or name.startswith("skyward.worker")
            assert fits or (name in lazy and top in {"psutil", "pynvml"}), f"{path.name} imports {name}"
