"""Pools whose nodes have jax. The client has none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from frameworks import engine as engine
from frameworks import image_for, mark
from frameworks import installed_plugins as installed_plugins

import skyward as sky
from skyward_jax import jax


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items, Path(__file__).parent, "jax")


@pytest.fixture(scope="session")
def image() -> sky.Image:
    """One environment for all tests."""
    return image_for(jax, "scikit-learn")
