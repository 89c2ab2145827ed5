"""A machine for transports over SSH: a folder for its node on this one, and ears for what its sockets say."""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward._reactor import Reactor
from skyward._ssh import SshTransport
from skyward.model.image import Image
from skyward.spi.provider import PoolIdentity
from skyward.worker.protocol import Frame, Kind

__all__ = ["Ear", "Machine", "cut_off_and_heard_again", "machine", "wait_for"]


class Ear:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.lost = asyncio.Event()
        self.deaf = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._loop.call_soon_threadsafe(self._come.set)

    def on_lost(self, error: Exception | None) -> None:
        self.deaf.set()
        self._loop.call_soon_threadsafe(self.lost.set)

    async def hears(self, kind: Kind) -> Frame:
        async with asyncio.timeout(30):
            while True:
                for frame in self.frames:
                    if frame.kind == kind:
                        return frame
                await self.hears_more()

    async def hears_more(self) -> None:
        """Wait for further frames."""
        self._come.clear()
        await self._come.wait()


class Machine:
    """A transport to the server, a folder for its node, and the phases that it reported."""

    def __init__(self, reactor: Reactor, root: str) -> None:
        self.reactor = reactor
        self.root = root
        self.home = tempfile.mkdtemp(prefix="sky-", dir="/tmp")
        self.folder = f"{self.home}/node"
        self.identity = PoolIdentity(
            pool_id="p", owner="me", deadline=time.time() + 600, lease=60.0, token=secrets.token_bytes(16)
        )
        self.phases: list[tuple[str, str]] = []

    def transport(self, address: Any, **options: Any) -> SshTransport:
        given = {"root": self.root, "folder": self.folder, "variables": _passed_on(), **options}
        return SshTransport("machine", address, self.identity, self.reactor, **given)

    def report(self, phase: str, state: str, seconds: float | None) -> None:
        self.phases.append((phase, state))

    @property
    def pid(self) -> int | None:
        try:
            return int(Path(self.folder, "pid").read_text())
        except FileNotFoundError:
            return None

    def close(self) -> None:
        if self.pid is not None:
            try:
                descriptor = os.pidfd_open(self.pid)
                os.kill(self.pid, signal.SIGTERM)
                wait_for(descriptor)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.home, ignore_errors=True)


def wait_for(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 30)[0]
    os.close(descriptor)


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ}


@pytest.fixture
def machine(ssh_root: str) -> Iterator[Machine]:
    reactor = Reactor("test-io")
    made = Machine(reactor, ssh_root)
    yield made
    made.close()
    reactor.close()


async def cut_off_and_heard_again(transport: SshTransport, machine: Machine, relay: Any) -> None:
    """Make a machine ready, listen to its supervisor, cut the relay that leads there, and listen again."""
    await transport.bootstrap(Image(), machine.report)
    first, second = Ear(), Ear()
    await transport.open("control", first)
    await first.hears(Kind.WELCOME)
    relay.cut()
    await first.lost.wait()
    await transport.open("control", second)
    await second.hears(Kind.WELCOME)
