"""An AWS for the tests, see rig/__init__.py; and pools' sessions with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import evolve
from fakes.sessions import command, opening
from fakes.sessions import identity as identity
from rig.fixtures import aws as aws
from rig.fixtures import aws_api as aws_api
from rig.fixtures import rig_api_server as rig_api_server
from rig.fixtures import rig_server as rig_server
from rig.rig import Rig

from skyward.spi import PoolIdentity
from skyward_aws import AWS

CALLER = "198.51.100.7/32"
"""From where the rig's machines are reached."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose instances are real containers."""
    for item in items:
        if "rig_server" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker("containers")


@pytest.fixture(autouse=True, scope="session")
def _models_are_read_once() -> Iterator[None]:
    """Each of boto3's sessions reads megabytes of models, for much of a test's time: here all share one reader."""
    from botocore import loaders

    with mock.patch.object(loaders, "create_loader", lru_cache(None)(loaders.create_loader)):
        yield


@pytest.fixture(autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS has is kept from test to test, in a folder of the tests'."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "kept"))


@pytest.fixture
def cache(_kept: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where things are kept on disk: a folder of the test's own, with nothing in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def settings() -> AWS:
    """Settings that ask nobody for this machine's address, and look at two regions."""
    return AWS(ssh_from=(CALLER,), reap_regions=("eu-west-1",))


@pytest.fixture
def opened(settings: AWS, identity: Callable[..., PoolIdentity]) -> Any:
    """Opens sessions; arguments are the pool's identity, and settings that differ."""
    return opening(partial(evolve, settings), identity)


@pytest.fixture
def reap(tmp_path: Path) -> Any:
    """Runs ``python -m skyward reap --json`` on a host that has never seen the rig's pools, with two regions."""

    def run(rig: Rig, *options: str) -> Any:
        rig.world.regions = ("eu-west-1", "us-east-1")
        return command("AWS", tmp_path / "elsewhere", "reap", *options)

    return run
