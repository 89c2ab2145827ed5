"""Pools whose nodes have Keras on JAX. The client has none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from frameworks import image_for, mark
from frameworks import installed_plugins as installed_plugins

import skyward as sky
from skyward_keras import keras


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items, Path(__file__).parent, "keras")


@pytest.fixture(scope="session")
def image() -> sky.Image:
    """One environment for all tests."""
    return image_for(keras(backend="jax"), "scikit-learn")
