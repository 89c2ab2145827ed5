"""The pytest plugin: fixtures for the tests of scripts, described in docs/testing.md.

pytest loads it at its start wherever skyward is installed, also for projects that do not use it. So it imports pytest
alone, and the fixtures import what they need when a test asks for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from skyward._pool import ComputePool
    from skyward.testing import FakeCloud
    from skyward.testing._pools import SharedPools

_MARKERS = (
    "skyward_pool(**parameters): parameters of sky.ComputePool for the fixture skyward_pool in this test",
    "skyward_cloud(**parameters): parameters of FakeCloud for the fixture skyward_cloud in this test",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two settings for the file that pytest is configured by."""
    parser.addini(
        "skyward_no_leaks", "fail every test that leaves machines or open pools behind", type="bool", default=False
    )
    parser.addini(
        "skyward_disable_plugins", "what SKYWARD_DISABLE_PLUGINS is set to, unless it is set already", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and do what the settings ask for."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if disabled := config.getini("skyward_disable_plugins"):
        os.environ.setdefault("SKYWARD_DISABLE_PLUGINS", disabled)
    if config.getini("skyward_no_leaks"):
        config.pluginmanager.register(_Everywhere(), "skyward-no-leaks")


class _Everywhere:
    """Registered where ``skyward_no_leaks`` is set: asks for the guard on behalf of every test."""

    @pytest.fixture(autouse=True)
    def _skyward_no_leaks_everywhere(self, skyward_no_leaks: None) -> None:
        """The guard, around everything that is the test's own."""


@pytest.fixture(scope="session")
def _skyward_pools(request: pytest.FixtureRequest) -> Iterator[SharedPools]:
    """The open pools of this run."""
    from skyward.testing._pools import SharedPools

    pools = SharedPools(request.config.invocation_params.dir)
    try:
        yield pools
    finally:
        pools.close()


@pytest.fixture(scope="session")
def skyward_pool_options() -> Mapping[str, Any]:
    """Parameters of the pool that ``skyward_pool`` gives; override this fixture to have others."""
    return {}


@pytest.fixture
def skyward_pool(
    request: pytest.FixtureRequest, _skyward_pools: SharedPools, skyward_pool_options: Mapping[str, Any]
) -> Generator[ComputePool]:
    """Two local nodes, ready and current, so that ``>> skyward_pool`` and ``>> sky`` work.

    They are the same for all tests that ask for the same parameters; a pool that broke is replaced for the next test.
    What tasks print is captured as if the test had printed it.
    """
    options = _parameters(request, "skyward_pool", skyward_pool_options)
    with _made("skyward_pool", lambda: _skyward_pools.lend(options)) as pool:
        yield pool


@pytest.fixture(scope="session")
def skyward_cloud_options() -> Mapping[str, Any]:
    """Parameters of the cloud that ``skyward_cloud`` gives; override this fixture to have others."""
    return {}


@pytest.fixture
def skyward_cloud(request: pytest.FixtureRequest, skyward_cloud_options: Mapping[str, Any]) -> Generator[FakeCloud]:
    """A cloud that costs nothing and has the faults that a test gives it; ``skyward_cloud.provider`` is for pools."""
    from skyward.testing import FakeCloud

    options = _parameters(request, "skyward_cloud", skyward_cloud_options)
    with _made("skyward_cloud", lambda: FakeCloud(**options)) as cloud:
        yield cloud


@pytest.fixture
def skyward_no_leaks() -> Generator[None]:
    """Fails the test if it leaves a machine or an open pool behind, with the name of each, and ends them."""
    from skyward.testing._left import Watch

    watch = Watch()
    watch.begin()
    yield
    if left := watch.end():
        pytest.fail(left, pytrace=False)


def _parameters(request: pytest.FixtureRequest, name: str, options: object) -> dict[str, Any]:
    """What a fixture is to be made with: what the fixture with its options says, then the markers, the nearest last."""
    if not isinstance(options, Mapping):
        pytest.fail(f"the fixture {name}_options gave {options!r}: return a dict such as {{'nodes': 4}}", pytrace=False)
    chosen = dict(options)
    for marker in reversed(list(request.node.iter_markers(name))):
        if marker.args:
            pytest.fail(
                f"the marker {name} has {marker.args[0]!r} without a name: write @pytest.mark.{name}(parameter=value)",
                pytrace=False,
            )
        chosen |= marker.kwargs
    return chosen


def _made[T](name: str, make: Callable[[], T]) -> T:
    """What a fixture is to give; wrong parameters fail the test with one line, for no traceback would tell more."""
    from skyward.errors import ConfigurationError

    try:
        return make()
    except (ConfigurationError, TypeError) as error:
        wrong = f"the fixture {name} cannot be made: {error}"
    pytest.fail(wrong, pytrace=False)
