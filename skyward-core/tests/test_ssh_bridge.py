"""Bytes between a channel and a socket: none lost, none out of order, and neither side buried by the other."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward._ssh.bridge import Bridge
from skyward._ssh.connect import connect
from skyward._ssh.hostkeys import HostKeys

MIB = 1 << 20


class Far:
    """A Unix socket as a node has them; what it accepts is served by ``serve`` on a thread."""

    def __init__(self, folder: Path, serve: Callable[[socket.socket], None]) -> None:
        self.path = str(folder / "far.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._serve = serve
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        with peer:
            peer.settimeout(60)
            self._serve(peer)

    def close(self) -> None:
        self._thread.join(30)
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


def through(sshd: Any, path: str, use: Callable[[socket.socket], Any]) -> Any:
    """Call ``use`` with a socket that a bridge connects to that path there."""

    async def work() -> Any:
        address = sshd.address()
        connection = await connect(address, HostKeys(address))
        here, near = socket.socketpair()
        near.setblocking(False)
        _, bridge = await connection.ssh.create_unix_connection(lambda: Bridge(near, connection.pulse), path)
        with here:
            here.settimeout(60)
            result = await asyncio.to_thread(use, here)
        assert isinstance(bridge, Bridge)
        await bridge.ended.wait()
        await connection.close()
        return result

    return asyncio.run(work())


def read(peer: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        parts.append(peer.recv(min(count, MIB)))
        assert parts[-1], "the other end closed too early"
        count -= len(parts[-1])
    return b"".join(parts)


def test_much_goes_both_ways_whole_and_in_order(sshd: Any, far: Any) -> None:
    data = secrets.token_bytes(MIB) * 24

    def echo(peer: socket.socket) -> None:
        peer.sendall(read(peer, len(data)))
        assert peer.recv(1) == b""

    def use(here: socket.socket) -> bytes:
        here.sendall(data)
        return read(here, len(data))

    assert through(sshd, far(echo).path, use) == data


def test_what_was_sent_before_this_end_was_closed_still_arrives(sshd: Any, far: Any) -> None:
    data = secrets.token_bytes(MIB) * 8
    arrived: list[bytes] = []

    def take(peer: socket.socket) -> None:
        arrived.append(read(peer, len(data)))
        assert peer.recv(1) == b""

    there = far(take)
    through(sshd, there.path, lambda here: here.sendall(data))
    there._thread.join(30)
    assert arrived == [data]


def test_what_was_sent_before_the_far_end_was_closed_still_arrives_and_then_its_end(sshd: Any, far: Any) -> None:
    data = secrets.token_bytes(MIB) * 8

    def use(here: socket.socket) -> bytes:
        return read(here, len(data)) + here.recv(1)

    assert through(sshd, far(lambda peer: peer.sendall(data)).path, use) == data


def test_a_far_end_that_does_not_read_holds_the_sender_up(sshd: Any, far: Any) -> None:
    go_on = threading.Event()
    size = 64 * MIB

    def late(peer: socket.socket) -> None:
        go_on.wait(60)
        read(peer, size)
        assert peer.recv(1) == b""

    def use(here: socket.socket) -> int:
        here.settimeout(1)
        data, sent = bytes(MIB), 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += here.send(data)
        go_on.set()
        here.settimeout(60)
        here.sendall(bytes(size - sent))
        return sent

    assert through(sshd, far(late).path, use) < size // 2


def test_a_reader_here_that_does_not_read_holds_the_far_end_up(sshd: Any, far: Any) -> None:
    size = 64 * MIB
    sent: list[int] = []
    held = threading.Event()

    def much(peer: socket.socket) -> None:
        peer.settimeout(1)
        done = 0
        try:
            while done < size:
                done += peer.send(bytes(MIB))
        except TimeoutError:
            pass
        sent.append(done)
        held.set()
        peer.settimeout(60)
        peer.sendall(bytes(size - done))

    def use(here: socket.socket) -> int:
        held.wait(60)
        return len(read(here, size))

    assert through(sshd, far(much).path, use) == size
    assert sent[0] < size // 2
