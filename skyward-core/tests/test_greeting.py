"""Who may talk to a node: whoever shows its token, in a few bytes and in time."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.worker import greeting
from skyward.worker.control import ControlPeer
from skyward.worker.greeting import greet, listen
from skyward.worker.protocol import Frame, FrameReader, Kind, encode, head_of

TOKEN = os.urandom(32)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    made = listen(str(tmp_path / "socket"))
    made.setblocking(False)
    yield made
    made.close()


def answers(caller: socket.socket) -> list[Frame]:
    reader = FrameReader()
    frames: list[Frame] = []
    while count := caller.recv_into(reader.get_buffer()):
        frames += reader.advance(count)
    return frames


def test_the_socket_is_for_this_user_alone_and_has_its_name_when_it_listens(tmp_path: Path) -> None:
    made = listen(str(tmp_path / "socket"))
    assert os.listdir(tmp_path) == ["socket"]
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    made.close()


def test_nobody_waiting_is_nobody(listener: socket.socket) -> None:
    assert greet(listener, TOKEN) is None


class TestCalling:
    @pytest.fixture
    def caller(self, listener: socket.socket, tmp_path: Path) -> Iterator[socket.socket]:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(60)
        made.connect(str(tmp_path / "socket"))
        yield made
        made.close()

    def test_the_token_opens_and_what_came_with_it_is_kept(
        self, listener: socket.socket, caller: socket.socket
    ) -> None:
        caller.sendall(b"".join([*encode(Kind.HELLO, raw_head=TOKEN), *encode(Kind.PING), *encode(Kind.STOP)]))
        met = greet(listener, TOKEN)
        assert met is not None
        peer, _, rest = met
        peer.close()
        assert [frame.kind for frame in rest] == [Kind.PING, Kind.STOP]

    @pytest.mark.parametrize(
        "token", [b"", TOKEN[:-1], TOKEN + b"x", bytes(32)], ids=["none", "shorter", "longer", "other"]
    )
    def test_another_token_is_refused(self, listener: socket.socket, caller: socket.socket, token: bytes) -> None:
        caller.sendall(b"".join(encode(Kind.HELLO, raw_head=token)))
        assert greet(listener, TOKEN) is None
        (refusal,) = answers(caller)
        assert refusal.kind == Kind.REFUSED
        assert head_of(refusal) == "the token is not this node's"

    def test_a_client_that_says_nothing_is_let_go(
        self, listener: socket.socket, caller: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(greeting, "_PATIENCE", 0.01)
        assert greet(listener, TOKEN) is None
        assert answers(caller)[0].kind == Kind.REFUSED

    def test_a_client_that_ends_is_let_go(self, listener: socket.socket, caller: socket.socket) -> None:
        caller.shutdown(socket.SHUT_WR)
        assert greet(listener, TOKEN) is None

    def test_a_pickle_in_the_place_of_the_token_is_never_loaded(
        self, listener: socket.socket, caller: socket.socket, tmp_path: Path
    ) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "trapped"),)

        caller.sendall(b"".join(encode(Kind.HELLO, head=Trap())))
        assert greet(listener, TOKEN) is None
        assert not (tmp_path / "trapped").exists()

    def test_the_control_channel_welcomes_and_hears(self, listener: socket.socket, caller: socket.socket) -> None:
        caller.sendall(b"".join([*encode(Kind.HELLO, raw_head=TOKEN), *encode(Kind.PING)]))
        peer = ControlPeer.accept(listener, TOKEN, {"pid": 7})
        assert peer is not None
        assert [frame.kind for frame in peer.waiting()] == [Kind.PING]
        assert peer.waiting() == []
        caller.sendall(b"".join(encode(Kind.STOP)))
        frames = peer.read()
        assert frames is not None
        assert [frame.kind for frame in frames] == [Kind.STOP]
        caller.sendall(b"nonsense" * 10)
        assert peer.read() is None
        peer.close()
        assert not peer.send(Kind.PONG, None)
        said = answers(caller)
        assert [frame.kind for frame in said] == [Kind.WELCOME, Kind.REFUSED]
        assert head_of(said[0]) == {"pid": 7}

    def test_a_control_channel_that_ended_says_so(self, listener: socket.socket, caller: socket.socket) -> None:
        caller.sendall(b"".join(encode(Kind.HELLO, raw_head=TOKEN)))
        peer = ControlPeer.accept(listener, TOKEN, {})
        assert peer is not None
        caller.shutdown(socket.SHUT_WR)
        assert peer.read() is None
        peer.close()

    def test_nobody_is_accepted_with_a_wrong_token(self, listener: socket.socket, caller: socket.socket) -> None:
        caller.sendall(b"".join(encode(Kind.HELLO, raw_head=b"wrong")))
        assert ControlPeer.accept(listener, TOKEN, {}) is None
