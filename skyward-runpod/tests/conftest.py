"""A RunPod for the tests, see tests/vendors/fakes/runpod; and pools' sessions with it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import runpod as runpod
from fakes.fixtures import runpod_api as runpod_api
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.sessions import command, opening
from fakes.sessions import hurry as hurry
from fakes.sessions import identity as identity
from fakes.sessions import spec as spec

from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity
from skyward_runpod import RunPod
from skyward_runpod._session import RunPodSession


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a key of their own."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the tests that are coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def opened(identity: Callable[..., PoolIdentity]) -> Any:
    """Opens sessions; arguments are the pool's identity, and settings."""
    return opening(RunPod, identity)


@pytest.fixture
def order(spec: Callable[..., ComputeSpec]) -> Callable[..., Any]:
    """Orders the cheapest that meets a request; returns the session's machines."""

    async def make(session: RunPodSession, *nodes: int, **changes: Any) -> Any:
        wanted = spec(**changes)
        offers = await session.offers(wanted)
        return await session.launch(LaunchRequest(offer=offers[0], nodes=nodes or (0,), spec=wanted))

    return make


@pytest.fixture
def reap(tmp_path: Path) -> Any:
    """Runs ``python -m skyward reap --json`` on a host that has never seen any pool."""
    return partial(command, "RunPod", tmp_path / "elsewhere", "reap")
