"""docs/testing.md lists exactly what exists: fixtures, markers, settings, and what a fake cloud has."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from skyward.testing import FakeCloud, FakeMachine, _pytest, _script

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "testing.md").read_text(encoding="utf-8")


def rows(first_column: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    _, found, rest = PAGE.partition(f"\n| {first_column} |")
    assert found, first_column
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(cell: str) -> list[str]:
    """What a cell names in code spans, without arguments."""
    return re.findall(r"`(\w+)(?:\([^`]*\))?`", cell)


def members(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_every_fixture_is_there() -> None:
    written = [name for row in rows("fixture") for name in names(row[0])]
    fixture = type(_pytest.skyward_pool)
    assert sorted(written) == sorted(n for n, v in vars(_pytest).items() if isinstance(v, fixture) and n[0] != "_")


def test_every_marker_and_setting_is_there(pytestconfig: pytest.Config) -> None:
    markers = {line.partition("(")[0] for line in pytestconfig.getini("markers") if line.startswith("skyward")}
    assert markers == {"skyward_pool", "skyward_cloud"}
    [sentence] = re.findall(r"The markers .*? are `skyward_no_leaks` and `skyward_disable_plugins`\.", PAGE, re.DOTALL)
    assert markers <= set(names(sentence))
    assert all(f"{name} = " in PAGE for name in ("skyward_no_leaks", "skyward_disable_plugins"))


def test_every_parameter_of_the_cloud_is_there_with_its_default() -> None:
    written = {names(row[0])[0]: ast.literal_eval(row[1].strip("`")) for row in rows("parameter of the cloud")}
    assert written == {name: each.default for name, each in inspect.signature(FakeCloud).parameters.items()}


def test_every_member_of_the_cloud_is_there() -> None:
    written = {name for row in rows("member of the cloud") for name in names(row[0])}
    assert written == members(FakeCloud) | {"name", "script"}


def test_every_member_of_a_machine_is_there() -> None:
    [sentence] = re.findall(r"A machine has .*?\.\n", PAGE, re.DOTALL)
    assert set(names(sentence)) == members(FakeMachine)


def test_every_call_that_a_script_may_have_is_there() -> None:
    [sentence] = re.findall(r"The calls are .*?\. Each entry", PAGE, re.DOTALL)
    assert set(re.findall(r"`([\w.]+)`", sentence)) == _script._METHODS
