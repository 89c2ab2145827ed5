"""The short way beside asyncssh over a real server: new keys, other ciphers, jump hosts, and bits that flip."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reactor_ear import Ear
from ssh_far import MIB, Far, frames_of, through
from sshd_here import OverSsh
from tcp_relay import TcpRelay

import skyward as sky
from skyward._ssh.lane import Lane
from skyward._ssh.link import ChannelLink
from skyward.worker.protocol import FrameReader, Kind, encode

MUCH = 64 * MIB


def answer(peer: socket.socket) -> None:
    """Give each frame back as it comes, until the other end closes."""
    reader = FrameReader()
    while got := peer.recv_into(reader.get_buffer()):
        for frame in reader.advance(got):
            for part in encode(frame.kind, frame.number, None, frame.buffers):
                peer.sendall(part)


def by_bytes(ssh: Any) -> None:
    """New keys with each MiB that this end sends."""
    ssh._rekey_bytes = MIB


def by_time(ssh: Any) -> None:
    """New keys with the next packet that this end sends, and then after an hour."""
    ssh._rekey_seconds, ssh._rekey_time = 3600, 0.0


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The keys that packets were read with by the short way, as they change."""
    found: list[object] = []
    read_short = Lane._short

    def note(lane: Lane, begin: int, after: int) -> Any:
        key = lane._ssh._recv_encryption
        if not found or found[-1] is not key:
            found.append(key)
        return read_short(lane, begin, after)

    monkeypatch.setattr(Lane, "_short", note)
    return found


@pytest.mark.parametrize("who", ["the server", "the client, by bytes", "the client, by time"])
def test_frames_and_much_data_go_both_ways_while_either_end_asks_for_new_keys(
    make_sshd: Any, keys: list[object], who: str
) -> None:
    server = make_sshd("RekeyLimit 1M" if who == "the server" else "RekeyLimit default")
    ask = {"the client, by bytes": by_bytes, "the client, by time": by_time}.get(who, lambda _: None)
    small, body = [secrets.token_bytes(100) for _ in range(200)], secrets.token_bytes(MUCH)

    async def use(link: ChannelLink, ear: Ear) -> None:
        assert link._lane is not None
        sent = 0
        for bodies in (small, [*small, body, *small], small):
            ask(link._lane._ssh)
            for each in bodies:
                link.send(encode(Kind.TASK, sent, None, [each]))
                sent += 1
            await asyncio.to_thread(ear.wait, frames=sent)
        assert [bytes(frame.buffers[0]) for frame in ear.frames] == [*small, *small, body, *small, *small]
        assert link._lane._open
        assert not ear.errors

    there = Far(server.folder, answer)
    try:
        through(server, there.path, use)
    finally:
        there.close()
    assert len(keys) >= 3


def test_data_that_waits_for_new_keys_keeps_its_place(sshd: Any, far: Any) -> None:
    arrived: list[int] = []

    def take(peer: socket.socket) -> None:
        arrived.extend(frame.number for frame in frames_of(peer, 1200))
        assert peer.recv(1) == b""

    async def use(link: ChannelLink, ear: Ear) -> None:
        assert link._lane is not None
        ssh = link._lane._ssh
        for number in range(1200):
            if number % 100 == 50:
                ssh._rekey_bytes_sent = ssh._rekey_bytes  # due with the next packet
            link.send(encode(Kind.TASK, number, None, [b"x"]))

    there = far(take)
    through(sshd, there.path, use)
    there.thread.join(30)
    assert arrived == list(range(1200))


def test_another_cipher_goes_without_the_short_way(make_sshd: Any) -> None:
    server = make_sshd("Ciphers chacha20-poly1305@openssh.com")
    body = secrets.token_bytes(3 * MIB)

    async def use(link: ChannelLink, ear: Ear) -> None:
        link.send(encode(Kind.TASK, 7, None, [body]))
        await asyncio.to_thread(ear.wait, frames=1)
        assert bytes(ear.frames[0].buffers[0]) == body

    there = Far(server.folder, answer)
    try:
        assert through(server, there.path, use) is None
    finally:
        there.close()


def test_new_keys_for_another_cipher_leave_the_connection_to_asyncssh(sshd: Any, far: Any) -> None:
    bodies = [secrets.token_bytes(size) for size in (10, MIB, 20, 2 * MIB, 30)]

    async def use(link: ChannelLink, ear: Ear) -> None:
        assert link._lane is not None
        ssh = link._lane._ssh
        for number, body in enumerate(bodies):
            if number == 2:
                ssh._enc_algs = [b"chacha20-poly1305@openssh.com"]
                ssh._rekey_bytes_sent = ssh._rekey_bytes
            link.send(encode(Kind.TASK, number, None, [body]))
            await asyncio.to_thread(ear.wait, frames=number + 1)
        assert [bytes(frame.buffers[0]) for frame in ear.frames] == bodies
        assert ssh.get_extra_info("send_cipher") == "chacha20-poly1305@openssh.com"
        assert not link._lane._open

    through(sshd, far(answer).path, use)


@pytest.fixture
def pool_at(sshd: Any, ssh_root: str) -> Callable[..., sky.ComputePool]:
    """A pool with one node, which is reached in a way of its own."""

    def make(**address: Any) -> sky.ComputePool:
        return sky.ComputePool(provider=OverSsh(address=sshd.address(**address), root=ssh_root), display="quiet")

    return make


def giving_back() -> Any:
    @sky.compute
    def back(data: bytes) -> bytes:
        return data

    return back


def test_a_jump_host_goes_without_the_short_way(
    sshd: Any, make_sshd: Any, pool_at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jump = make_sshd("AllowTcpForwarding yes")
    jump.authorise(sshd.key)
    known, config, key = tmp_path / "known", tmp_path / "config", tmp_path / "key"
    key.touch(0o600)
    key.write_text(sshd.key.private)
    known.write_text(f"[127.0.0.1]:{jump.port} {jump.host.public}\n")
    config.write_text(
        f"Host bastion\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {sshd.address().username}\n"
        f"  IdentityFile {key}\n  UserKnownHostsFile {known}\nHost 127.0.0.1\n  ProxyJump bastion\n"
    )
    made: list[Lane] = []
    monkeypatch.setattr(Lane, "__init__", lambda lane, *_: made.append(lane))
    data, back = secrets.token_bytes(3 * MIB), giving_back()
    with pool_at(config=(str(config),)) as pool:
        assert back(data) >> pool == data
    assert not made


class Bending(TcpRelay):
    """Flips one bit of what goes up or down, in the first connection, once it is told to."""

    def __init__(self, target: int, way: str) -> None:
        self.now = threading.Event()
        self.bent = 0
        self._way = way
        super().__init__(target, delay=1e-9)

    def _late(self, target: socket.socket) -> tuple[Callable[[bytes], None], Callable[[], None]]:
        way = "up" if target.getpeername()[1] == self.target else "down"

        def send(data: bytes) -> None:
            if way == self._way and self.now.is_set() and not self.bent and len(data) > 100:
                self.bent += 1
                data = data[:80] + bytes([data[80] ^ 1]) + data[81:]
            target.sendall(data)

        return send, lambda: None


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_flipped_bit_ends_the_connection_and_the_result_is_right_all_the_same(
    sshd: Any, pool_at: Any, way: str
) -> None:
    relay = Bending(sshd.port, way)
    data, back = secrets.token_bytes(8 * MIB), giving_back()
    try:
        with pool_at(port=relay.port) as pool:
            assert back(b"first") >> pool == b"first"
            relay.now.set()
            assert back(data) >> pool == data
            assert back(b"last") >> pool == b"last"
    finally:
        relay.close()
    assert relay.bent == 1
    assert relay.connections == 2
