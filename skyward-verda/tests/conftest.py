"""A Verda for the tests, see tests/vendors/fakes; and pools' sessions with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.fixtures import verda as verda
from fakes.fixtures import verda_api as verda_api
from fakes.sessions import command, opening
from fakes.sessions import identity as identity

import skyward as sky
from skyward.spi import ComputeSpec, Instance, LaunchRequest, PoolIdentity
from skyward_verda import Verda
from skyward_verda._session import VerdaSession


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have credentials of their own, which are not for them."""
    for name in ("VERDA_CLIENT_ID", "VERDA_CLIENT_SECRET", "VERDA_PROFILE", "VERDA_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERDA_HOME", str(tmp_path / "verda"))


@pytest.fixture
def opened(identity: Callable[..., PoolIdentity]) -> Any:
    """Opens sessions; arguments are the pool's identity, and settings."""
    return opening(Verda, identity)


@pytest.fixture
def dying(identity: Callable[..., PoolIdentity]) -> Any:
    """Opens sessions of clients that are killed at the end of the block: nothing is removed, connections end."""
    return opening(Verda, identity, end=lambda session: session._api.aclose())


@pytest.fixture
def launched() -> Callable[..., Awaitable[Sequence[Instance]]]:
    """Launches machines of the first offer that fits; arguments are a session, nodes, a spec and a market."""

    async def launch(
        session: VerdaSession, *nodes: int, spec: ComputeSpec | None = None, market: str = "on-demand"
    ) -> Sequence[Instance]:
        spec = spec or ComputeSpec(nodes=1, image=sky.Image())
        offer = next(each for each in await session.offers(spec) if each.market == market)
        return await session.launch(LaunchRequest(offer=offer, nodes=nodes or (0,), spec=spec))

    return launch


@pytest.fixture
def reap(tmp_path: Path) -> Any:
    """Runs ``python -m skyward reap --json`` on a host that has never seen these pools."""
    return partial(command, "Verda", tmp_path / "elsewhere", "reap")
