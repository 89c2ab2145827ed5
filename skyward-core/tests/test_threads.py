"""Calls that block a thread for long: what they belong to ends all the same, be it a pool or a command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from command_clouds import PLUGIN
from plugin_fakes import Install
from road_fakes import FakeProvider, on_demand

import skyward as sky
from skyward._threads import Threads
from skyward.spi import Capabilities
from skyward.testing import FakeCloud

pytestmark = pytest.mark.usefixtures("own_ledgers")

LONG = 60.0
"""Seconds after which a call comes back that nobody has released: too late for these tests."""


class Blocking:
    """A provider whose client does not come back from its call to open, on a thread, before it is released."""

    name = "Blocking"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self.begun: Callable[[], object] = lambda: None
        self.release = threading.Event()
        self.threads: list[threading.Thread] = []

    async def open(self, identity: Any, /) -> Any:
        return await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self.threads.append(threading.current_thread())
        self.begun()
        self.release.wait(LONG)

    @property
    def blocks(self) -> bool:
        """Whether its call goes on, on a thread that the program does not wait for."""
        return bool(self.threads) and all(thread.is_alive() and thread.daemon for thread in self.threads)


@pytest.fixture
def blocking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocking]:
    monkeypatch.setattr("skyward._market.ANSWER_LIMIT", 1.0)
    provider = Blocking()
    yield provider
    provider.release.set()


@pytest.fixture
def installed(blocking: Blocking, install: Install, monkeypatch: pytest.MonkeyPatch) -> Blocking:
    """A plugin brings it, and one that answers."""
    sound = FakeProvider("Acme", [on_demand("Acme", kind="quick")])
    made = {"Blocking": lambda: blocking, "Acme": lambda: sound.provider}
    monkeypatch.setitem(sys.modules, "clouds_under_test", SimpleNamespace(made=made))
    install("acme-clouds", PLUGIN)
    return blocking


@sky.compute
def one() -> int:
    return 1


def test_a_pool_serves_and_ends_while_the_call_of_another_provider_goes_on(
    blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        FakeCloud(offers=[on_demand(price=1.0)]) as cloud,
        sky.ComputePool([blocking, cloud.provider], display="quiet") as pool,
    ):
        assert one() >> pool == 1
    assert blocking.blocks
    assert "Blocking cannot be used: Blocking did not answer to open within" in caplog.text


@pytest.mark.parametrize("line", ["offers", "doctor"])
def test_a_command_tells_what_the_others_answer_and_ends(installed: Blocking, command: Any, line: str) -> None:
    _, out, err = command(line)
    assert installed.blocks
    assert "Acme" in out
    assert "Blocking did not answer to open within 1 s" in out + err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("line", ["offers", "ps", "doctor", "reap"])
def test_a_signal_ends_a_command_at_once(
    installed: Blocking, command: Any, line: str, number: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyward._market.ANSWER_LIMIT", LONG)
    installed.begun = lambda: os.kill(os.getpid(), number)
    assert command(line, "--provider", "Blocking")[0] == status
    assert installed.blocks


def test_more_calls_than_threads_wait_for_their_turn_and_errors_go_to_who_waits() -> None:
    threads, gate = Threads(), threading.Event()
    waiting = [threads.submit(gate.wait, LONG) for _ in range(40)]
    assert sum(future.running() or not future.done() for future in waiting) == 40
    wrong = threads.submit(int, "x")
    gate.set()
    assert all(future.result(LONG) for future in waiting)
    with pytest.raises(ValueError, match="invalid literal"):
        wrong.result(LONG)


def test_once_it_is_shut_down_nothing_new_begins() -> None:
    threads, gate = Threads(), threading.Event()
    running = [threads.submit(gate.wait, LONG) for _ in range(40)]
    threads.shutdown()
    assert sum(future.cancelled() for future in running) == 8
    with pytest.raises(RuntimeError, match="has ended"):
        threads.submit(int)
    gate.set()
