"""What the tests that run other projects' suites share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def outer_environ() -> dict[str, str]:
    """This environment without what our own test run and its coverage measurement put into it.

    A suite that runs elsewhere would else take our options, and write coverage of another kind among ours.
    """
    own = ("PYTEST_", "COVERAGE_", "COV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}
