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


@pytest.mark.slow
def test_building_an_environment_may_take_longer_than_the_lease(
    provider: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    @sky.compute
    def version() -> str:
        import six

        return str(six.__version__)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # so that it is built here and now
    image = sky.Image(pip=["six==1.16.0"])
    with sky.ComputePool(provider, nodes=2, image=image, lease=0.4, display="quiet") as pool:
        assert version() @ pool == ("1.16.0", "1.16.0")
