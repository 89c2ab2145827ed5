"""docs/own-provider.md shows the whole package of the plugin seam, and it is as small as it says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/own-provider.md").read_text(encoding="utf-8")
PACKAGE = "tests/plugin_seam/skyward-acme"
PROVIDER = ("provider.py", "session.py", "plugin.py")
BESIDE = {"__init__.py", "extras.py", "integration.py", "strategies.py"}
"""What the package has that no provider needs."""


def test_the_page_shows_every_file_that_a_provider_needs_and_its_tests() -> None:
    shown = set(re.findall(r"<!-- test: file (\S+) -->", PAGE))
    code = {path.name for path in (ROOT / PACKAGE / "src/skyward_acme").glob("*.py")} - BESIDE
    assert code == set(PROVIDER)
    needed = {f"{PACKAGE}/src/skyward_acme/{name}" for name in PROVIDER} | {f"{PACKAGE}/pyproject.toml"}
    assert shown == needed | {f"{PACKAGE}/tests/{path.name}" for path in (ROOT / PACKAGE / "tests").glob("*.py")}


def test_the_provider_has_no_more_lines_than_the_page_says() -> None:
    [title] = re.findall(r"^# Your own provider in (\d+) lines$", PAGE, re.MULTILINE)
    texts = [(ROOT / PACKAGE / "src/skyward_acme" / name).read_text() for name in PROVIDER]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    assert len(lines) <= int(title)
