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


def test_the_worker_imports_the_standard_library_cloudpickle_and_itself_only() -> None:
    """A node may have nothing else; psutil and pynvml are asked for inside functions, and may be missing."""
    for path in (ROOT / "skyward-core/src/skyward/worker").rglob("*.py"):
        tree = ast.parse(path.read_text())
        lazy = {name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for name in imports(node)}
        for name in imports(tree):
            top = name.partition(".")[0]
            fits = top in sys.stdlib_module_names or top == "cloudpickle" or name.startswith("skyward.worker")
            assert fits or (name in lazy and top in {"psutil", "pynvml"}), f"{path.name} imports {name}"
