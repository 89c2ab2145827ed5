"""No machine outlives its pool: whatever befalls the client, at any of its awaits, and whatever its providers do.

A client that is cancelled, or to which an exception comes, ends its machines itself. One that is killed leaves them to
the next client, which finds them by the ledger, or, where that is lost as well, by their tags; and whatever nobody
finds ends itself. Each run has a number, and is the same at each repetition::

    SKYWARD_LEAK_SEED=137 python -m pytest skyward-core/tests/test_leaks.py
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from leak_scenarios import ENDINGS, EVERYTHING, LATE_ORDER, Ending, Scenario, awaits, check, random_scenario

RUNS = 500
_CHUNK = 25
_ONLY = os.environ.get("SKYWARD_LEAK_SEED")
SEEDS = [range(begin, begin + _CHUNK) for begin in range(0, RUNS, _CHUNK)]
if _ONLY is not None:
    SEEDS = [range(int(_ONLY), int(_ONLY) + 1)]

pytestmark = [pytest.mark.usefixtures("own_ledgers"), pytest.mark.no_cover]


@pytest.fixture(autouse=True, scope="module")
def _the_dead_are_not_looked_at_again() -> Iterator[None]:
    """Clients that have died leave half a million objects in the memory, which later searches for garbage pass over."""
    yield
    gc.collect()
    gc.freeze()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_no_fault_and_no_interruption_leaves_a_machine(
    seeds: range, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in seeds:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / str(seed)))
        scenario = random_scenario(seed)
        try:
            at = random.Random(seed).randint(1, awaits(scenario))
            check(scenario, ENDINGS[seed % len(ENDINGS)], at)
        except BaseException as error:
            error.add_note(f"to repeat it: SKYWARD_LEAK_SEED={seed} python -m pytest {__file__} -k no_fault")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("scenario", "least"), [(EVERYTHING, 150), (LATE_ORDER, 50)], ids=["everything", "late"])
def test_no_await_of_the_road_is_one_at_which_an_interruption_leaves_a_machine(
    scenario: Scenario, least: int, ending: Ending
) -> None:
    total = awaits(scenario)
    assert total > least
    for at in range(1, total + 1):
        check(scenario, ending, at)
