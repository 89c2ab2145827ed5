"""The guard against what a test leaves behind, on fake machines; test_pytest_plugin.py has local nodes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward._current import current_pool
from skyward._ledger import Ledger
from skyward.spi import LaunchRequest, PoolIdentity
from skyward.testing import FakeCloud, no_machines_left


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud(nodes="simulated") as cloud:
        yield cloud


def pool_of(cloud: FakeCloud) -> sky.ComputePool:
    return sky.ComputePool(cloud.provider, nodes=2, lease=None, display="quiet")


def buy(cloud: FakeCloud, pool_id: str = "p1") -> None:
    """Buy a machine for a pool that does not exist."""

    async def launch() -> None:
        identity: Any = PoolIdentity(pool_id=pool_id, owner="me", deadline=None, lease=None, token=b"")
        session = await cloud.provider.open(identity)
        spec = pool_of(cloud)._options.spec
        await session.launch(LaunchRequest(offer=(await session.offers(spec))[0], nodes=(0,), spec=spec))
        await session.close()

    asyncio.run(launch())


def test_a_block_that_ends_what_it_begins_passes(cloud: FakeCloud) -> None:
    with no_machines_left(), pool_of(cloud):
        pass
    assert len(cloud.machines) == 2


def test_a_pool_that_was_not_left_is_named_with_its_machines_and_ended(cloud: FakeCloud) -> None:
    pool = pool_of(cloud)
    with pytest.raises(AssertionError) as caught, no_machines_left():
        pool.__enter__()
    pool_id = cloud.machines[0].pool_id
    assert str(caught.value).splitlines() == [
        "left behind, and ended now:",
        f"  - the pool {pool_id} of 2 node(s) on Fake, entered and not left; its machines: i-0, i-1",
        "leave the block of each pool before the test ends, or open the pool in a fixture of a wider scope",
    ]
    assert not pool.is_active
    assert current_pool() is None
    assert cloud.alive == []


def test_a_machine_that_no_pool_holds_is_named_and_ended(cloud: FakeCloud) -> None:
    with pytest.raises(AssertionError, match="the machine i-0 of Fake, bought by the pool p1"), no_machines_left():
        buy(cloud)
    assert cloud.alive == []


def test_what_ended_only_together_with_its_cloud_was_left_behind() -> None:
    with (
        pytest.raises(AssertionError, match="the machine i-0 of Inner"),
        no_machines_left(),
        FakeCloud("Inner", nodes="simulated") as inner,
    ):
        buy(inner)


def test_a_cloud_that_nobody_holds_any_more_is_looked_at_too() -> None:
    with pytest.raises(AssertionError, match="the machine i-0 of Lost"), no_machines_left():
        buy(FakeCloud("Lost", nodes="simulated"))


def test_a_machine_that_ended_otherwise_is_not_left_behind(cloud: FakeCloud) -> None:
    with no_machines_left():
        buy(cloud)
        cloud.lose("i-0")


def test_what_was_there_before_is_let_be(cloud: FakeCloud) -> None:
    buy(cloud)
    with pool_of(cloud) as pool:
        with no_machines_left():
            pass
        assert pool.is_active
        before = len(cloud.alive)
        with no_machines_left():  # what a pool of a wider scope buys meanwhile is its own affair
            buy(cloud, cloud.machines[1].pool_id)
        assert len(cloud.alive) == before + 1


def test_an_error_of_the_block_is_raised_with_what_is_left_as_a_note(cloud: FakeCloud) -> None:
    with pytest.raises(KeyError, match="mine") as caught, no_machines_left():
        buy(cloud)
        raise KeyError("mine")
    assert "the machine i-0 of Fake" in caught.value.__notes__[0]


def test_blocks_may_stand_in_each_other(cloud: FakeCloud) -> None:
    environment = dict(os.environ)
    with pytest.raises(AssertionError, match="i-1"), no_machines_left():
        with pytest.raises(AssertionError, match="i-0"), no_machines_left():
            buy(cloud)
        buy(cloud)
    assert dict(os.environ) == environment


def test_a_pool_whose_end_fails_is_told_of_with_the_rest(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    close = Ledger.close

    def fail(self: Ledger, *, clean: bool) -> None:
        close(self, clean=clean)
        raise OSError("the disk is gone")

    said = r"\(ending it failed: OSError: the disk is gone\)(.|\n)*i-2 of Fake"
    with pytest.raises(AssertionError, match=said), no_machines_left():
        pool_of(cloud).__enter__()
        buy(cloud)
        monkeypatch.setattr(Ledger, "close", fail)


UNITTEST = """
import unittest
import skyward as sky
from skyward.testing import FakeCloud, no_machines_left

class Case(unittest.TestCase):
    def setUp(self):
        self.enterContext(no_machines_left())
        self.cloud = self.enterContext(FakeCloud(nodes="simulated"))

    def pool(self):
        return sky.ComputePool(self.cloud.provider, display="quiet")

    def test_clean(self):
        self.enterContext(self.pool())

    def test_left(self):
        self.pool().__enter__()

@no_machines_left()
def function():
    sky.ComputePool(display="quiet").__enter__()

class Decorated(unittest.TestCase):
    def test_decorator(self):
        with self.assertRaisesRegex(AssertionError, "on Local, entered and not left"):
            function()

unittest.main()
"""


def test_unittest_has_it_as_well(tmp_path: Path) -> None:
    (tmp_path / "cases.py").write_text(UNITTEST)
    done = subprocess.run(
        [sys.executable, "-W", "error", "cases.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert "Ran 3 tests" in done.stderr, done.stderr
    assert "FAILED (failures=1)" in done.stderr
    assert "on Fake, entered and not left" in done.stderr
