"""The short way and a server that sends what no sshd does: it ends as asyncssh alone would end it, or goes on so."""

from __future__ import annotations

import asyncio
import getpass
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import pytest
from packaging.version import Version
from reactor_ear import Ear
from ssh_far import GREETING, MIB, through
from ssh_impostor import OwnServer

from skyward._ssh import new_key_pair
from skyward._ssh.link import ChannelLink
from skyward.model.ssh import SshAddress
from skyward.worker.protocol import Kind, encode

DATA, EXTENDED, IGNORE, DEBUG, UNKNOWN, GLOBAL_REQUEST = 94, 95, 2, 4, 200, 80
FRAME = b"".join(encode(Kind.RESULT, 7, None, [b"a result"]))


class Peer:
    """The server's end of the channel, for what does not come by itself."""

    def __init__(self, ssh: Any, chan: Any) -> None:
        self.ssh = ssh
        self.chan = chan
        self.number: int = chan._send_chan  # the client's number of the channel
        self._late: list[bytes] = []

    def gather(self) -> None:
        """Keep what is sent from now on, to send it in one piece."""
        self.ssh._send = self._late.append

    def flush(self, most: int | None = None) -> None:
        """Send what was kept, or as many bytes of it."""
        del self.ssh._send
        self.ssh._send(b"".join(self._late)[:most])

    def seal(self, plain: bytes) -> None:
        """Send a packet as it stands here: one byte that counts the padding, the payload, the padding."""
        length = struct.pack("!I", len(plain))
        packet, tag = self.ssh._send_encryption.encrypt_packet(self.ssh._send_seq, length, plain)
        self.ssh._send_seq += 1
        self.ssh._send(packet + tag)

    def data(self, body: bytes, *, number: int | None = None, size: int | None = None, padding: int = 4) -> None:
        """Send a packet with data whose fields need not be true."""
        number = self.number if number is None else number
        size = len(body) if size is None else size
        self.seal(struct.pack("!BBII", padding, DATA, number, size) + body + bytes(4))


type Does = Callable[[Peer], None]


class BentServer(OwnServer):
    """Accepts one client, and once that has greeted on a channel, does what it is told to."""

    def __init__(self, does: Does) -> None:
        self.does = does
        self.unimplemented: list[bytes] = []
        self.host = new_key_pair("host")
        super().__init__()

    async def listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.import_private_key(self.host.private)],
            server_factory=lambda: _Lenient(self),
            process_factory=lambda process: None,
            encryption_algs=["aes128-gcm@openssh.com"],
            encoding=None,
        )

    def address(self) -> SshAddress:
        """Where it is."""
        key = new_key_pair("client")
        return SshAddress(
            host="127.0.0.1", port=self.port, username=getpass.getuser(), host_key=self.host.public, key=key, config=()
        )


class _Lenient(asyncssh.SSHServer):
    def __init__(self, server: BentServer) -> None:
        self._server = server
        self._ssh: Any = None

    def connection_made(self, conn: Any) -> None:
        self._ssh = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def unix_connection_requested(self, dest_path: str) -> Any:
        return _Session(self._server, self._ssh)


class _Session(asyncssh.SSHUNIXSession[bytes]):
    def __init__(self, server: BentServer, ssh: Any) -> None:
        self._server = server
        self._ssh = ssh
        self._got = b""
        self._chan: Any = None

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        before, self._got = len(self._got), self._got + data
        if before < len(GREETING) + 1 <= len(self._got):  # and something behind it
            self._server.does(Peer(self._ssh, self._chan))

    def eof_received(self) -> bool:
        return False


@pytest.fixture
def bent() -> Iterator[Callable[[Does], BentServer]]:
    made: list[BentServer] = []

    def make(does: Does) -> BentServer:
        made.append(BentServer(does))
        return made[-1]

    yield make
    for server in made:
        server.close()


def heard(
    server: BentServer, *, short: bool, frames: int = 0, errors: int = 1, paused: bool = False
) -> tuple[list[bytes], list[Exception | None]]:
    """What a client hears of it, up to so many frames and errors."""
    ears: list[Ear] = []

    async def use(link: ChannelLink, ear: Ear) -> None:
        ears.append(ear)
        if paused:
            assert link._chan is not None
            link._chan.pause_reading()
        link.send(encode(Kind.PING))
        await asyncio.to_thread(ear.wait, frames=frames, errors=errors)

    lane = through(server, "/nowhere", use, short=short)
    assert (lane is not None) == short
    [ear] = ears
    return [bytes(frame.buffers[0]) for frame in ear.frames], ear.errors


def test_what_is_no_data_may_stand_anywhere_between_data(bent: Any, short: bool) -> None:
    def does(peer: Peer) -> None:
        peer.gather()
        for begin in range(len(FRAME)):
            peer.data(FRAME[begin : begin + 1])
            peer.ssh.send_packet([IGNORE, DEBUG, UNKNOWN, GLOBAL_REQUEST][begin % 4], *_WORDS[begin % 4])
        peer.data(b"")
        peer.data(FRAME)
        peer.flush()

    frames, errors = heard(bent(does), short=short, frames=2, errors=0)
    assert frames == [b"a result"] * 2
    assert errors == []


_WORDS = [
    (struct.pack("!I", 0),),
    (b"\0", struct.pack("!II", 0, 0)),
    (b"whatever",),
    (struct.pack("!I", 7) + b"unknown" + b"\0",),
]


def test_the_end_comes_behind_all_data_even_in_one_piece_with_it(bent: Any, short: bool) -> None:
    def does(peer: Peer) -> None:
        peer.gather()
        for _ in range(3):
            peer.data(FRAME)
        peer.chan.write_eof()
        peer.chan.close()
        peer.flush()

    frames, errors = heard(bent(does), short=short, frames=3)
    assert frames == [b"a result"] * 3
    assert errors == [None]


def test_data_behind_the_end_ends_the_connection(bent: Any, short: bool) -> None:
    def does(peer: Peer) -> None:
        peer.gather()
        peer.data(FRAME)
        peer.chan.write_eof()
        peer.data(FRAME)
        peer.flush()

    frames, _ = heard(bent(does), short=short, frames=1)
    assert frames == [b"a result"]


BROKEN: dict[str, Does] = {
    "data that is longer than its packet": lambda peer: peer.data(FRAME, size=len(FRAME) + 100),
    "a packet that is longer than its data": lambda peer: peer.data(FRAME, size=len(FRAME) - 1),
    "more padding than packet": lambda peer: peer.data(FRAME, padding=255),
    "a channel that is not there": lambda peer: peer.data(FRAME, number=99),
    "half the fields of a packet": lambda peer: peer.seal(struct.pack("!BBI", 4, DATA, peer.number) + bytes(4)),
    "an empty packet": lambda peer: peer.seal(b""),
    "a length of nothing": lambda peer: peer.ssh._send(bytes(4 + 16)),
    "a length over all limits": lambda peer: peer.ssh._send(b"\xff" * 4 + os.urandom(1000)),
    "a length over what is usual": lambda peer: peer.ssh._send(struct.pack("!I", 300 << 10) + bytes(400 << 10)),
    "bytes that nobody has sealed": lambda peer: peer.ssh._send(struct.pack("!I", 64) + os.urandom(64 + 16)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_packet_that_cannot_be_ends_the_connection_with_the_reason(bent: Any, short: bool, what: str) -> None:
    def does(peer: Peer) -> None:
        peer.data(FRAME)
        BROKEN[what](peer)

    frames, errors = heard(bent(does), short=short, frames=1)
    assert frames == [b"a result"]
    [error] = errors
    assert error is not None


@pytest.mark.skipif(
    Version(asyncssh.__version__) < Version("2.24.1"),
    reason="before 2.24.1 asyncssh counts data when it is read, and here nobody reads it",
)
def test_more_data_than_the_window_allows_ends_the_connection(bent: Any, short: bool) -> None:
    def does(peer: Peer) -> None:
        for _ in range(100):
            peer.data(bytes(MIB // 8))

    frames, errors = heard(bent(does), short=short, paused=True)
    assert not frames
    assert "indow" in str(errors[0])


@pytest.mark.parametrize("most", [1, 4, 5, 30, -1])
def test_a_server_that_dies_within_a_packet_ends_the_connection_and_nothing_half_arrives(
    bent: Any, short: bool, most: int
) -> None:
    def does(peer: Peer) -> None:
        peer.data(FRAME)
        peer.gather()
        peer.data(FRAME)
        peer.flush(most)
        peer.ssh._transport.close()

    frames, errors = heard(bent(does), short=short, frames=1)
    assert frames == [b"a result"]
    assert len(errors) == 1
