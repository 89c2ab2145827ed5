"""What links over SSH lead to in the tests: Unix sockets as a node has them, and what it takes to talk to one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reactor_ear import Ear

from skyward._reactor import Reactor
from skyward._ssh.connect import Connection, connect
from skyward._ssh.hostkeys import HostKeys
from skyward._ssh.lane import Lane, open_lane
from skyward._ssh.link import ChannelLink
from skyward.worker.protocol import Frame, FrameReader, Kind, encode

__all__ = ["GREETING", "MIB", "Far", "echo", "far", "frames_of", "read", "short", "through"]

MIB = 1 << 20
GREETING = b"".join(encode(Kind.HELLO, raw_head=b"token"))


class Far:
    """A Unix socket as a node has them; what it accepts is served by ``serve`` on a thread, behind the greeting."""

    def __init__(self, folder: Path, serve: Callable[[socket.socket], None]) -> None:
        self.path = str(folder / f"far-{secrets.token_hex(4)}.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._serve = serve
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        with peer:
            peer.settimeout(60)
            assert read(peer, len(GREETING)) == GREETING
            self._serve(peer)

    def close(self) -> None:
        self.thread.join(30)
        self._listener.close()
        os.unlink(self.path)


@pytest.fixture
def far(sshd: Any) -> Iterator[Callable[..., Far]]:
    made: list[Far] = []

    def make(serve: Callable[[socket.socket], None]) -> Far:
        made.append(Far(sshd.folder, serve))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["short way", "asyncssh alone"])
def short(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "short way")


def through(
    server: Any, path: str, use: Callable[[ChannelLink, Ear], Awaitable[None]], *, short: bool = True, port: int = 0
) -> Lane | None:
    """Await ``use`` with a link to that path there and what listens to it; returns the lane."""
    reactor = Reactor("test-io")

    async def there() -> tuple[Connection, Lane | None, ChannelLink]:
        address = server.address(port=port) if port else server.address()
        connection = await connect(address, HostKeys(address))
        lane = open_lane(connection.ssh, reactor) if short else None
        link = ChannelLink(reactor, lane, connection.pulse, GREETING)
        await connection.ssh.create_unix_connection(lambda: link, path)
        return connection, lane, link

    async def end(connection: Connection, link: ChannelLink) -> None:
        async with asyncio.timeout(60):
            await link.ended.wait()
        await connection.close()

    async def work() -> Lane | None:
        connection, lane, link = await reactor.run(there())
        ear = Ear()

        async def listen() -> None:
            link.lead_to(ear)

        await reactor.run(listen())
        await use(link, ear)
        link.close()
        await reactor.run(end(connection, link))
        return lane

    try:
        return asyncio.run(work())
    finally:
        reactor.close()


def read(peer: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        parts.append(peer.recv(min(count, MIB)))
        assert parts[-1], "the other end closed too early"
        count -= len(parts[-1])
    return b"".join(parts)


def frames_of(peer: socket.socket, count: int) -> list[Frame]:
    reader, frames = FrameReader(), list[Frame]()
    while len(frames) < count:
        got = peer.recv_into(reader.get_buffer())
        assert got, "the other end closed too early"
        frames += reader.advance(got)
    return frames


def echo(count: int) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        for frame in frames_of(peer, count):
            for part in encode(frame.kind, frame.number, None, frame.buffers):
                peer.sendall(part)
        assert peer.recv(1) == b""

    return serve
