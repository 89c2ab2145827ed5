"""Clouds that an installed plugin brings, for tests of the command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_fakes import Install
from road_fakes import FakeProvider, Journey, VirtualLoop, run

from skyward import _plugins
from skyward._client import this_client
from skyward._ledger import state_folder

DEAD = f"{this_client().partition('-')[0]}-1-0"

PLUGIN = """
import clouds_under_test
from skyward.spi import ProviderDescriptor, hookimpl

@hookimpl
def skyward_providers():
    return [ProviderDescriptor(name=name, settings=make) for name, make in clouds_under_test.made.items()]
"""


@pytest.fixture
def clouds(install: Install, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[FakeProvider, ...]]]:
    """Makes clouds, of these names, that a plugin brings, each with a machine of a client that has died."""
    made: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "clouds_under_test", SimpleNamespace(made=made))
    every: list[FakeProvider] = []

    def make(*names: str, left: bool = True, ledger: bool = True, **options: Any) -> tuple[FakeProvider, ...]:
        found = [FakeProvider(name, **options) for name in names]
        every.extend(found)
        for cloud in found:
            made[cloud.name] = lambda cloud=cloud: cloud.provider
            if left:
                run(abandon(cloud), VirtualLoop(cloud.clock))
        if not ledger:
            for path in state_folder().iterdir():
                path.unlink()
        if len(every) == len(found):
            install("acme-clouds", PLUGIN)
        _plugins.forget()
        return tuple(found)

    async def abandon(cloud: FakeProvider) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("skyward._market.this_client", lambda: DEAD)
            journey = Journey(cloud, timeout=3600, lease=None)
            await journey.road.provision()
        ledger = journey.road._books._ledger
        assert ledger is not None
        ledger._file.close()

    yield make
    for cloud in every:
        cloud.close()
