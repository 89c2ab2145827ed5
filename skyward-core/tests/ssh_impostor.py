"""Somebody in the place of a machine: an SSH server that lets everybody in, and notes what it is given."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import pytest

__all__ = ["Impostor", "OwnServer", "make_impostor"]


class OwnServer(ABC):
    """Listens on a loopback port, on a thread of its own. How is said by ``listen``."""

    def __init__(self) -> None:
        self.port = 0
        self._ended = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listening.wait(60)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    @abstractmethod
    async def listen(self) -> asyncssh.SSHAcceptor:
        """Begin to listen."""

    async def _serve(self) -> None:
        async with await self.listen() as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            await self._ended.wait()

    def close(self) -> None:
        """Go away."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)


class Impostor(OwnServer):
    """Has a host key that nobody knows."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.met = 0
        super().__init__()

    async def listen(self) -> asyncssh.SSHAcceptor:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=lambda: _Greedy(self), encoding=None
        )


class _Greedy(asyncssh.SSHServer):
    """Accepts whatever it is offered."""

    def __init__(self, impostor: Impostor) -> None:
        self._impostor = impostor

    def connection_made(self, conn: Any) -> None:
        self._impostor.met += 1

    def _take(self, what: str) -> None:
        self._impostor.given.append(what)

    def begin_auth(self, username: str) -> bool:
        self._take(f"the name {username}")
        return False

    def session_requested(self) -> bool:
        self._take("a session")
        return False

    def unix_connection_requested(self, dest_path: str) -> bool:
        self._take(f"a channel to {dest_path}")
        return False


@pytest.fixture
def make_impostor() -> Iterator[Callable[[], Impostor]]:
    """Puts impostors up for one test."""
    made: list[Impostor] = []

    def make() -> Impostor:
        made.append(Impostor())
        return made[-1]

    yield make
    for each in made:
        each.close()
