"""The vendors as fixtures: ``runpod`` has machines and needs podman, ``runpod_api`` only pretends them; so with others.

A conftest.py imports those that it uses, with ``vendor_yard`` where they have machines, and
``pytest_collection_modifyitems``, which marks the tests that start containers.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from rig.machines import BASE

from .machines import FakeMachines
from .server import VendorServer
from .yard import Yard

__all__ = [
    "digitalocean", "digitalocean_api", "lent", "pytest_collection_modifyitems", "runpod", "runpod_api", "vastai",
    "vastai_api", "vendor_yard", "verda", "verda_api",
]  # fmt: skip

_YARD = pytest.StashKey[Yard]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose machines are real containers."""
    for item in items:
        if "vendor_yard" in getattr(item, "fixturenames", ()):
            item.add_marker("containers")


@pytest.fixture(scope="session")
def vendor_yard(require: Any, pytestconfig: pytest.Config) -> Yard:
    """Where the machines of all vendors stand. Skips where there is no podman."""
    command = ("podman", "run", "--rm", "--pull", "never", "--network", "none", BASE, "true")
    works = shutil.which("podman") and not subprocess.run(command, capture_output=True).returncode
    require(works, f"podman, and the image {BASE}, which scripts/ci-containers.sh makes")
    if _YARD not in pytestconfig.stash:  # several folders may have imported this fixture
        pytestconfig.stash[_YARD] = Yard()
        pytestconfig.add_cleanup(pytestconfig.stash[_YARD].close)
    return pytestconfig.stash[_YARD]


def lent(vendor: str, yard: Yard | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A vendor for one test, ``fakes.<vendor>.Fake``, and the environment by which its clients find it.

    Nothing else of this vendor's is in the environment, no proxy stands before it, and what clients keep of their pools
    is kept in a folder of its own. At the end the fake must have done nothing that it is not meant to do, and what
    strangers have must be as it was.
    """
    machines = FakeMachines(vendor, yard)
    state = tempfile.TemporaryDirectory(prefix=f"skyward-{vendor}-", ignore_cleanup_errors=True)
    monkeypatch.setenv("XDG_STATE_HOME", state.name)
    fake: VendorServer = importlib.import_module(f"fakes.{vendor}").Fake(machines)
    try:
        own = tuple({name.partition("_")[0] + "_" for name in fake.environment} - {"SKYWARD_"})
        for name in os.environ:
            if name.startswith((*own, f"SKYWARD_{vendor.upper()}_")):
                monkeypatch.delenv(name)
        for name in ("no_proxy", "NO_PROXY"):
            known = os.environ.get(name, os.environ.get("no_proxy", ""))
            monkeypatch.setenv(name, f"{known},{urlsplit(fake.endpoint).hostname}".lstrip(","))
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        before = fake.strangers()
        yield fake
        assert fake.strangers() == before, "something of strangers was touched"
        assert not fake.problems, "the fake did what it is not meant to do"
        assert not machines.problems, "a machine did not start, or was asked for what it cannot do"
    finally:
        machines.clear()
        fake.close()
        state.cleanup()


def _vendor(name: str) -> tuple[Any, Any]:
    """The fixtures of a vendor: with machines, and its API alone."""

    @pytest.fixture
    def whole(vendor_yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        yield from lent(name, vendor_yard, monkeypatch)

    @pytest.fixture
    def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        yield from lent(name, None, monkeypatch)

    return whole, api


# They have the names under which a module imports them.
digitalocean, digitalocean_api = _vendor("digitalocean")
runpod, runpod_api = _vendor("runpod")
vastai, vastai_api = _vendor("vastai")
verda, verda_api = _vendor("verda")
