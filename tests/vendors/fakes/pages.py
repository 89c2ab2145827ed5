"""The page of docs/ on a vendor, to be compared with what its package has and says."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import skyward as sky

__all__ = ["VendorPage"]

_ROOT = Path(__file__).resolve().parents[3]


class VendorPage:
    """``docs/<vendor>.md``, with tables of settings (setting, default, meaning) and of errors.

    Args:
        vendor: of the package ``skyward-<vendor>`` as well.
        more: paths of further modules whose errors it explains.
    """

    def __init__(self, vendor: str, *more: str) -> None:
        self.text = (_ROOT / f"docs/{vendor}.md").read_text(encoding="utf-8")
        own = (_ROOT / f"skyward-{vendor}/src/skyward_{vendor}").glob("*.py")
        self._sources = [*own, *(_ROOT / each for each in more)]

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the table whose first column has this heading."""
        [table] = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE)
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]

    def settings(self) -> list[tuple[str, Any]]:
        """The settings with their defaults, in order."""
        return [(name.strip("`"), ast.literal_eval(default.strip("`"))) for name, default, *_ in self.rows("setting")]

    def explained(self) -> list[str]:
        """The errors: classes, and pieces of messages."""
        return [said for error, *_ in self.rows("error") for said in re.findall(r"`([^`]+)`", error)]

    def can_come(self, error: str) -> bool:
        """Whether there is such a class, or the package says so in a text into which nothing is put at that place."""
        return hasattr(sky, error) or any(error in said for said in self._said)

    @functools.cached_property
    def _said(self) -> list[str]:
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in self._sources]
        nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        return [node.value for node in nodes if isinstance(node.value, str)]
