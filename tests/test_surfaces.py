"""The public surfaces: each exposes exactly what its ``__all__`` says, and none loads what it does not need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SURFACES = ["skyward", "skyward.spi", "skyward.testing"]

# Names that a module has without offering them.
TOLERATED = {"annotations", "TYPE_CHECKING"}

PROBE = """
import importlib, sys, types
module = importlib.import_module(sys.argv[1])
names = list(module.__all__)
missing = [name for name in names if not hasattr(module, name)]
listed = set(dir(module))
exposed = [
    name for name, value in vars(module).items()
    if not name.startswith("_")
    and not (isinstance(value, types.ModuleType) and value.__name__.startswith(module.__name__ + "."))
]
print(repr((names, missing, sorted(listed), exposed)))
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=SURFACES)
def surface(request: pytest.FixtureRequest) -> tuple[list[str], list[str], list[str], list[str]]:
    """In an interpreter of its own: ``__all__``, those of it that do not resolve, ``dir()``, and the names it holds."""
    answer: tuple[list[str], list[str], list[str], list[str]] = eval(run(PROBE, request.param))
    return answer


def order(name: str) -> tuple[int, str]:
    """The order that ruff asks of ``__all__``: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_all_is_sorted_and_names_each_thing_once(surface: tuple[list[str], list[str], list[str], list[str]]) -> None:
    names, *_ = surface
    assert names == sorted(set(names), key=order)


def test_every_name_in_all_resolves_and_is_listed(surface: tuple[list[str], list[str], list[str], list[str]]) -> None:
    names, missing, listed, _ = surface
    assert not missing
    assert set(names) <= set(listed)


def test_nothing_is_exposed_that_all_does_not_name(surface: tuple[list[str], list[str], list[str], list[str]]) -> None:
    names, _, _, exposed = surface
    assert set(exposed) - TOLERATED <= set(names)


@pytest.mark.parametrize("name", SURFACES)
def test_importing_a_surface_loads_none_of_what_the_linter_keeps_out_of_modules(name: str) -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = set(ruff["flake8-tidy-imports"]["banned-module-level-imports"]) - {"pluggy"}
    loaded = run("import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)", name).split()
    assert not banned & set(loaded)
