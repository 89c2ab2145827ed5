"""The page on Vast.ai has what there is: the settings with their defaults, and the words of the errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest

import skyward as sky
from skyward_vastai import VastAI

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "vastai.md").read_text(encoding="utf-8")
SOURCE = ROOT / "skyward-vastai" / "src" / "skyward_vastai"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    written = [(name.strip("`"), ast.literal_eval(default.strip("`"))) for name, default, _ in rows("setting")]
    assert written == [(field.name, field.default) for field in attrs.fields(VastAI)]


def words() -> str:
    """All that the package says, a line for each piece of text that nothing is put into."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(node.value for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize("said", [said for error, _ in rows("error") for said in re.findall(r"`([^`]+)`", error)])
def test_an_error_that_is_explained_is_one_that_can_come(said: str) -> None:
    assert said in words() or hasattr(sky, said)
