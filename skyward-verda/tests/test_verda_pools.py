"""Whole pools on instances that are real: from `with` to the result and back to nothing, and the dead man's switch."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fakes.verda import Fake

import skyward as sky
from skyward_verda import Verda

PATIENCE = 180.0

POOL = """
import signal
import skyward as sky
from skyward_verda import Verda

with sky.ComputePool(Verda(), lease=20, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


@pytest.mark.slow
def test_a_pool_runs_on_spot_and_on_demand_tells_its_deadline_and_leaves_nothing(
    verda: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    @sky.compute
    def who(x: int) -> tuple[int, int]:
        return 2 * x, os.getuid()

    seen: list[Any] = []
    with sky.ComputePool(Verda(), nodes=2, allocation=0.5, display="quiet", timeout=1800, on_event=seen.append) as pool:
        assert [*(who(21) @ pool)] == [(42, 0), (42, 0)]
        assert sorted(held.facts["is_spot"] for name, held in verda.held.items() if name in verda.existing()) == [
            False,
            True,
        ]
        before = verda.belongings()
        pool.extend(7200)
        assert len(verda.belongings() - before) == 2, "the deadline that each instance has now"
    assert (verda.existing(), verda.belongings()) == (set(), set())
    [final] = [each for each in seen if isinstance(each, sky.CostFinal)]
    assert (final.spot_count, final.ondemand_count) == (1, 1)
    told = caplog.text + "".join(map(repr, seen))
    assert not [secret for secret in (verda.client[1], *verda.tokens) if secret in told]
    assert "machines of Verda cannot end themselves" in caplog.text


@pytest.mark.slow
def test_an_instance_of_a_client_that_was_killed_shuts_itself_down_costs_on_and_is_removed_from_anywhere(
    verda: Fake, reap: Callable[..., dict[str, Any]]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "in\n"
        [machine] = verda.existing()
    finally:
        process.kill()
        process.communicate()
    ended = threading.Event()
    for _ in range(int(PATIENCE / 0.1)):
        if verda.held[machine].status == "offline":
            break
        ended.wait(0.1)
    assert verda.held[machine].status == "offline"
    assert verda.existing() == {machine}, "it is billed all the same"
    removed = reap()
    assert (removed["status"], removed["problems"]) == (0, [])
    assert {each["why"] for each in removed["machines"]} == {"its client has died"}
    assert (verda.existing(), verda.belongings()) == (set(), set())
