"""The page on DigitalOcean has what there is: settings with their defaults, scopes, and the words of the errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest
from fakes.digitalocean import DigitalOceanServer

import skyward as sky
from skyward_digitalocean import DigitalOcean
from skyward_digitalocean._settings import REGIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "digitalocean.md").read_text(encoding="utf-8")
SOURCE = ROOT / "skyward-digitalocean" / "src" / "skyward_digitalocean"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]


def test_every_setting_stands_there_with_its_default_and_in_order() -> None:
    written = [(name.strip("`"), ast.literal_eval(default.strip("`"))) for name, default, _ in rows("setting")]
    assert written == [(field.name, field.default) for field in attrs.fields(DigitalOcean)]
    [region] = [meaning for name, _, meaning in rows("setting") if name == "`region`"]
    assert tuple(re.findall(r"`(\w+)`", region)[: len(REGIONS)]) == REGIONS


def words() -> str:
    """All that the package says, a line for each piece of text that nothing is put into."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(node.value for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize("said", [said for error, _ in rows("error") for said in re.findall(r"`([^`]+)`", error)])
def test_an_error_that_is_explained_is_one_that_can_come(said: str) -> None:
    assert said in words() or hasattr(sky, said)


def test_every_question_that_is_asked_has_a_scope_on_the_page() -> None:
    """Each route of the fake is one that the package asks, since the other tests ask it of no other."""
    actions = {"GET": "read", "POST": "create", "DELETE": "delete"}
    things = {"droplets": "droplet", "tags": "tag", "vpcs": "vpc"}
    for each in DigitalOceanServer._routes:
        path = re.sub(r"\(\?P<\w+>[^)]+\)", "x", each.pattern.pattern).split("/")[2:]
        thing = "ssh_key" if path[:2] == ["account", "keys"] else things.get(path[0], path[0])
        action = "create" if path[-1] == "resources" and each.method == "POST" else actions[each.method]
        assert f"`{thing}:{action}`" in PAGE, each
