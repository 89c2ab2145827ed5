"""An image's packages are on the nodes, whatever the client has."""

from __future__ import annotations

import pytest

import skyward as sky


@sky.compute
def where() -> tuple[str, str, int]:
    import sys

    import six  # type: ignore[import-untyped]

    return sys.prefix, six.__version__, sky.instance_info().node


@sky.compute
def measured() -> bool:
    import importlib.util

    return importlib.util.find_spec("psutil") is not None


@pytest.mark.slow
def test_every_node_has_the_packages_of_its_image_and_the_clients_own_skyward(provider: object) -> None:
    with sky.ComputePool(provider, nodes=2, image=sky.Image(pip=["six==1.16.0"]), display="quiet") as pool:  # type: ignore[arg-type]
        first, second = where() @ pool
        assert measured() >> pool
    assert (first[1], second[1]) == ("1.16.0", "1.16.0")
    assert [first[2], second[2]] == [0, 1]


@pytest.mark.slow
def test_a_package_that_nobody_has_fails_with_the_resolvers_own_words(provider: object) -> None:
    image = sky.Image(pip=["no-such-package-of-skyward-tests==9.9.9"])
    with (
        pytest.raises(sky.BootstrapError, match="no-such-package-of-skyward-tests") as caught,
        sky.ComputePool(provider, image=image, display="quiet"),  # type: ignore[arg-type]
    ):
        pass
    assert caught.value.phase == "deps"
