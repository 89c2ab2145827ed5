"""An image's packages are on the nodes, whatever the client has."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


@pytest.mark.slow
def test_every_node_has_the_packages_of_its_image_and_the_clients_own_skyward(provider: Any) -> None:
    @sky.compute
    def look() -> tuple[str, bool, int]:
        import importlib.util

        import six  # type: ignore[import-untyped]

        import skyward

        return six.__version__, importlib.util.find_spec("psutil") is not None, skyward.instance_info().node

    image = sky.Image(pip=["six==1.16.0"])
    with sky.ComputePool(provider, nodes=2, image=image, display="quiet") as pool:
        assert look() @ pool == (("1.16.0", True, 0), ("1.16.0", True, 1))


@pytest.mark.slow
def test_a_package_that_nobody_has_fails_with_the_resolvers_own_words(provider: Any) -> None:
    image = sky.Image(pip=["no-such-package-of-skyward-tests==9.9.9"])
    with (
        pytest.raises(sky.BootstrapError, match="no-such-package-of-skyward-tests") as caught,
        sky.ComputePool(provider, image=image, display="quiet"),
    ):
        pass
    assert caught.value.phase == "deps"
