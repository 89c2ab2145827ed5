"""The thread that waits on a pool's sockets."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from reactor_ear import Ear
from reactor_ear import reactor as reactor

from skyward import _reactor
from skyward._reactor import Reactor
from skyward.errors import ProtocolError
from skyward.worker.protocol import Frame, FrameReader, Kind, encode, head_of


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(60)
    yield near, far
    near.close()
    far.close()


def read(far: socket.socket, count: int) -> list[Frame]:
    reader, frames = FrameReader(), list[Frame]()
    while len(frames) < count:
        got = far.recv_into(reader.get_buffer())
        assert got
        frames += reader.advance(got)
    return frames


def test_frames_arrive_and_go_out(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    ear = Ear()
    link = reactor.add(near, ear)
    link.send(encode(Kind.PING, 7))
    assert read(far, 1)[0].number == 7
    far.sendall(b"".join(encode(Kind.PONG, 8)))
    ear.wait(frames=1)
    assert ear.frames[0].number == 8


def test_what_the_kernel_does_not_take_at_once_goes_out_later_in_order(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    link = reactor.add(near, Ear())
    for number in range(20):  # the first ones before the reactor knows the socket
        link.send(encode(Kind.TASK, number, None, [bytes(1 << 20)]))
    assert [frame.number for frame in read(far, 20)] == list(range(20))


def test_nothing_can_be_backed_up_between_the_look_for_it_and_the_registration(reactor: Reactor, pair: Any) -> None:
    held: list[bool] = []

    class Link:
        lock = threading.Lock()

        @property
        def backed_up(self) -> bool:
            held.append(self.lock.locked())
            return False

    selector = SimpleNamespace(register=lambda *_: held.append(Link.lock.locked()))
    Reactor._register(SimpleNamespace(_selector=selector), Link(), pair[0])  # type: ignore[arg-type]
    assert held == [True, True]


def test_the_end_of_a_connection_is_told_once(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    ear = Ear()
    link = reactor.add(near, ear)
    far.close()
    ear.wait(errors=1)
    assert ear.errors == [None]
    link.send(encode(Kind.PING))
    link.close()
    assert len(ear.errors) == 1


def test_a_refusal_is_an_error_with_its_reason(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    ear = Ear()
    reactor.add(near, ear)
    far.sendall(b"".join(encode(Kind.REFUSED, head="the token is not this node's")))
    ear.wait(errors=1)
    assert isinstance(ear.errors[0], ProtocolError)
    assert "the token is not this node's" in str(ear.errors[0])


def test_nonsense_is_an_error(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    ear = Ear()
    reactor.add(near, ear)
    far.sendall(b"nonsense" * 10)
    ear.wait(errors=1)
    assert isinstance(ear.errors[0], ProtocolError)


def test_a_link_that_is_closed_by_this_end_tells_nobody(reactor: Reactor, pair: Any) -> None:
    near, far = pair
    ear = Ear()
    link = reactor.add(near, ear)
    link.close()
    assert far.recv(1) == b""
    assert ear.errors == []


def test_timers_run_in_the_order_of_their_times(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(_reactor, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ran: list[str] = []
    done = threading.Event()
    reactor.call_later(0.2, done.set)
    reactor.call_later(0.1, lambda: ran.append("late"))
    reactor.call_later(0.01, lambda: ran.append("early"))
    now[0] = 101.0  # all are due at once, however long the lines above have taken
    reactor.call(lambda: None)
    assert done.wait(60)
    assert ran == ["early", "late"]


def test_a_callback_that_fails_stops_nothing(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "skyward.reactor"):
        reactor.call(lambda: 1 // 0)  # type: ignore[arg-type]
        reactor.call(done.set)
        assert done.wait(60)
    assert "please report" in caplog.text


def test_after_its_end_no_file_that_got_its_numbers_is_written_to() -> None:
    reactor = Reactor("test-io")
    reactor.close()
    read, write = os.pipe()  # the lowest free numbers: those of the reactor's own pipe
    ran: list[int] = []
    reactor.call(lambda: ran.append(1))
    assert ran == [1]
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_its_end_closes_what_is_open(pair: Any) -> None:
    near, far = pair
    reactor = Reactor("test-io")
    reactor.add(near, Ear()).send(encode(Kind.PING, 1, "head"))
    assert head_of(read(far, 1)[0]) == "head"
    reactor.close()
    reactor.close()
    assert far.recv(1) == b""


def test_what_the_supervisor_says_is_heard_before_what_its_slots_said_after_it(reactor: Reactor) -> None:
    heard: list[str] = []
    done = threading.Event()

    class Named(Ear):
        def __init__(self, name: str, *, first: bool) -> None:
            super().__init__()
            self.name, self.first = name, first

        def on_frame(self, frame: Frame) -> None:
            heard.append(self.name)
            if len(heard) == 2:
                done.set()

    pairs = [socket.socketpair() for _ in range(2)]
    reactor.add(pairs[0][0], Named("slot", first=False))
    reactor.add(pairs[1][0], Named("supervisor", first=True))
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(10)

    reactor.call(hold)
    assert held.wait(10)
    for _, far in pairs:  # the slot's socket is the first one that is ready
        far.sendall(b"".join(encode(Kind.PONG)))
    go_on.set()
    assert done.wait(10)
    assert heard == ["supervisor", "slot"]
    for _, far in pairs:
        far.close()
