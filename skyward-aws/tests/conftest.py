"""An AWS for the tests: see rig/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.fixtures import aws as aws
from rig.fixtures import aws_api as aws_api
from rig.fixtures import rig_api_server as rig_api_server
from rig.fixtures import rig_server as rig_server


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose instances are real containers."""
    for item in items:
        if "rig_server" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker("containers")
