"""A pool whose nodes have transformers. The client has none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from frameworks import image_for, mark
from frameworks import installed_plugins as installed_plugins

import skyward as sky
from skyward_transformers import transformers


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items, Path(__file__).parent, "transformers")


@pytest.fixture(scope="session")
def image() -> sky.Image:
    """Torch of the package index: the index of PyTorch itself cannot be reached from everywhere."""
    return image_for(transformers(wheels="pypi"))


@pytest.fixture(scope="module")
def pool(image: sky.Image) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as made:
        yield made
