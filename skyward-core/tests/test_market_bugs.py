"""A plugin that breaks its contract while machines are bought: it is named, and others serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from market_orders import bought, fail
from road_fakes import After, FakeProvider, Journey, virtually

from skyward.errors import (
    AllProvidersFailedError,
    PluginError,
)

pytestmark = pytest.mark.usefixtures("own_ledgers")


@virtually
async def test_a_bug_of_a_plugin_is_reported_with_its_name_and_the_others_serve() -> None:
    # It fails after it has created the machine.
    buggy = FakeProvider("Buggy", script={"launch": [After(ZeroDivisionError("division by zero"))]})
    sound = FakeProvider("Sound")
    journey = Journey(buggy, sound)
    await journey.road.provision()
    assert len(buggy.machines) == 1
    assert buggy.alive == [], "what it did not tell of is ended at once"
    assert len(bought(buggy)) == 1, "a plugin that broke is not tried again"
    assert sound.alive
    await journey.road.destroy()


@virtually
async def test_a_bug_of_the_only_plugin_is_the_cause_of_the_failure(tmp_path: Path) -> None:
    provider = FakeProvider(script={"launch": [After(ZeroDivisionError("division by zero"))]})
    error = await fail(Journey(provider), tmp_path, AllProvidersFailedError)
    assert isinstance(error.__cause__, PluginError)
    assert "Fake failed in launch with ZeroDivisionError: division by zero" in str(error)
    assert isinstance(error.__cause__.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("answer", [None, 7, ["i-1"], "wrong nodes", "one twice", "too many"])
@virtually
async def test_an_answer_that_breaks_the_contract_is_a_bug_of_the_plugin(answer: object, tmp_path: Path) -> None:
    provider = FakeProvider()

    def wrong(request: Any) -> object:
        session = provider.sessions[0]
        if answer == "wrong nodes":
            return session.create(evolve(request, nodes=(7, 8)))
        if answer == "one twice":
            return [*session.create(request)[:1]] * 2
        if answer == "too many":
            return session.create(request) + session.create(request)
        return answer

    provider.script["launch"] = [wrong, wrong]
    error = await fail(Journey(provider, nodes=2), tmp_path, AllProvidersFailedError)
    assert isinstance(error.__cause__, PluginError)
