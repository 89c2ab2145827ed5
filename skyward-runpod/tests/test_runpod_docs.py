"""The page on RunPod has what there is: the settings with their defaults, and the words of the errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest

import skyward as sky
from skyward_runpod import RunPod, _pods
from skyward_runpod._settings import ENDPOINT

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runpod.md").read_text(encoding="utf-8")
SOURCES = (*(ROOT / "skyward-runpod/src/skyward_runpod").glob("*.py"), ROOT / "skyward-core/src/skyward/_options.py")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    written = [(name.strip("`"), ast.literal_eval(default.strip("`"))) for name, default, _ in rows("setting")]
    defaults = {"endpoint": ENDPOINT}
    assert written == [(field.name, defaults.get(field.name, field.default)) for field in attrs.fields(RunPod)]


def test_the_images_are_those_that_are_used() -> None:
    assert [name.strip("`") for _, name in rows("for")] == [_pods.CUDA_IMAGE, _pods.CPU_IMAGE]


def words() -> str:
    """All that is said, a line for each piece of text that nothing is put into."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(node.value for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize("said", [said for error, _ in rows("error") for said in re.findall(r"`([^`]+)`", error)])
def test_an_error_that_is_explained_is_one_that_can_come(said: str) -> None:
    assert said in words() or hasattr(sky, said)
