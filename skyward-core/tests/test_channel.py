"""A slot's end of its socket: what was not acknowledged is sent again, in order, to whoever connects."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward.worker import channel as channel_module
from skyward.worker.channel import Channel
from skyward.worker.greeting import listen
from skyward.worker.protocol import Frame, FrameReader, Kind, encode, head_of

TOKEN = b"t" * 32


class Peer:
    """A client of the channel."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.send(Kind.HELLO, raw_head=TOKEN)

    def send(self, kind: int, head: object = None, number: int = 0, **options: Any) -> None:
        self.socket.sendall(b"".join(encode(kind, number, head, **options)))

    def next(self) -> Frame:
        while not self._frames:
            count = self.socket.recv_into(self._reader.get_buffer())
            if not count:
                raise EOFError
            self._frames = self._reader.advance(count)
        return self._frames.pop(0)

    def heads(self, count: int) -> list[Any]:
        return [head_of(self.next()) for _ in range(count)]

    def close(self) -> None:
        self.socket.close()


class Slot:
    """A channel with a thread in the place of the slot's main thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = listen(str(path))
        self.applied: list[int] = []
        self.channel = Channel(self.listener, TOKEN, lambda: {"generation": 1}, self._apply)
        self.peers: list[Peer] = []

    def _apply(self, frame: Frame) -> bool:
        """Whether it brings what the task lacks that is held back."""
        self.applied.append(frame.kind)
        return frame.kind == Kind.LOOK

    def connect(self) -> Peer:
        self.peers.append(Peer(self.path))
        return self.peers[-1]

    def receive(self) -> Callable[[], Frame]:
        """Let it wait for a task on a thread; returns how to wait for that."""
        got: list[Frame] = []
        thread = threading.Thread(target=lambda: got.append(self.channel.receive()), daemon=True)
        thread.start()

        def result() -> Frame:
            thread.join(60)
            return got[0]

        return result

    def close(self) -> None:
        self.channel._drop()
        self.listener.close()
        for peer in self.peers:
            peer.close()


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    made = Slot(tmp_path / "slot.sock")
    yield made
    made.close()


def line(number: int) -> list[Any]:
    return encode(Kind.LOG, 0, f"line {number}")


def task(peer: Peer, number: int = 1) -> None:
    peer.send(Kind.TASK, (number,), number)


def test_a_task_arrives_and_what_came_before_it_is_applied_first(slot: Slot) -> None:
    waiting = slot.receive()
    peer = slot.connect()
    assert peer.heads(1) == [{"generation": 1, "done": []}]
    peer.send(Kind.FUNCTION, ("f",))
    peer.send(Kind.FORGET, ("g",))
    task(peer)
    assert waiting().kind == Kind.TASK
    assert slot.applied == [Kind.FUNCTION, Kind.FORGET]


def test_nothing_is_sent_before_the_client_has_said_what_it_has(slot: Slot) -> None:
    peer = slot.connect()
    slot.channel.send_output(line)  # accepts it
    slot.channel.send_result(1, encode(Kind.RESULT, 1, "result 1"), lambda: None)
    assert peer.heads(1)[0]["done"] == []
    waiting = slot.receive()
    peer.send(Kind.RESUME, (0, 0))
    assert peer.heads(2) == ["line 1", "result 1"]
    task(peer)
    waiting()


def test_after_a_reconnection_the_rest_comes_once_in_order(slot: Slot) -> None:
    waiting = slot.receive()
    first = slot.connect()
    first.send(Kind.RESUME, (0, 0))
    task(first)
    waiting()
    for _ in range(4):
        slot.channel.send_output(line)
    slot.channel.send_result(1, encode(Kind.RESULT, 1, "result 1"), lambda: None)
    assert first.heads(6)[1:] == ["line 1", "line 2", "line 3", "line 4", "result 1"]
    first.close()
    waiting = slot.receive()
    second = slot.connect()
    assert second.heads(1)[0]["done"] == [1]
    second.send(Kind.RESUME, (0, 2))
    assert second.heads(3) == ["line 3", "line 4", "result 1"]
    second.send(Kind.ACK, (1, 4))
    task(second)
    waiting()
    assert not slot.channel._results
    assert not slot.channel._output


def test_tasks_that_were_not_begun_are_forgotten_with_their_connection(slot: Slot) -> None:
    """The client sends them again, when it has heard that they were not begun."""
    waiting = slot.receive()
    first = slot.connect()
    task(first, 1)
    task(first, 2)
    assert waiting().number == 1
    first.close()
    waiting = slot.receive()
    second = slot.connect()
    task(second, 3)
    assert waiting().number in (2, 3)


def test_a_newer_connection_takes_the_place_of_the_older_one(slot: Slot) -> None:
    waiting = slot.receive()
    first = slot.connect()
    first.heads(1)
    second = slot.connect()
    second.heads(1)
    with pytest.raises((EOFError, ConnectionResetError)):
        first.next()
    task(second, 5)
    assert waiting().number == 5


def test_a_task_that_prints_goes_on_when_its_client_does_not_read_and_another_one_comes(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "_KEPT_BYTES", 1 << 30)
    count = 3000  # of 10 kB: more than sockets hold
    waiting = slot.receive()
    first = slot.connect()
    first.send(Kind.RESUME, (0, 0))
    task(first)
    waiting()

    def print_much() -> None:
        for _ in range(count):
            slot.channel.send_output(lambda number: encode(Kind.LOG, 0, (number, "x" * 10_000)))
        slot.channel.receive()

    thread = threading.Thread(target=print_much, daemon=True)
    thread.start()
    second = slot.connect()  # the first one never reads, so the task is stuck until this one comes
    second.heads(1)
    second.send(Kind.RESUME, (0, 0))
    numbers: list[int] = []
    while len(numbers) < count:
        numbers.append(head_of(second.next())[0])
    assert numbers == list(range(1, count + 1))
    task(second)
    thread.join(60)
    assert not thread.is_alive()


def test_of_too_much_output_the_newest_is_kept(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_KEPT_LINES", 10)
    for _ in range(25):
        slot.channel.send_output(line)
    waiting = slot.receive()
    peer = slot.connect()
    peer.send(Kind.RESUME, (0, 0))
    assert peer.heads(11)[1:] == [f"line {number}" for number in range(16, 26)]
    task(peer)
    waiting()


def test_kept_output_is_bounded_in_bytes(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_KEPT_BYTES", 1000)
    for _ in range(100):
        slot.channel.send_output(lambda _: [b"x" * 100])
    assert len(slot.channel._output) == 10


def test_a_result_is_kept_before_the_task_counts_as_ended(slot: Slot) -> None:
    """Else a client that connects between the two would hear that nobody knows of the task."""
    held: list[int] = []
    slot.channel.send_result(
        7, encode(Kind.RESULT, 1, "result"), lambda: held.extend(n for n, _ in slot.channel._results)
    )
    assert held == [7]


def test_a_large_result_arrives_whole(slot: Slot) -> None:
    waiting = slot.receive()
    peer = slot.connect()
    peer.send(Kind.RESUME, (0, 0))
    task(peer)
    waiting()
    data = bytes(range(256)) * (1 << 14)
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend([peer.next(), peer.next()]))
    reader.start()
    parts = encode(Kind.RESULT, 1, "head", [pickle.dumps(1), *[memoryview(data)[i::1] for i in range(3)]])
    slot.channel.send_result(1, parts, lambda: None)
    reader.join(60)
    assert [len(memoryview(buffer)) for buffer in frames[1].buffers[1:]] == [len(data), len(data) - 1, len(data) - 2]


def test_nonsense_after_the_greeting_closes_the_connection_with_the_reason(slot: Slot) -> None:
    waiting = slot.receive()
    peer = slot.connect()
    peer.heads(1)
    peer.socket.sendall(b"nonsense" * 10)
    frame = peer.next()
    assert frame.kind == Kind.REFUSED
    assert "does not speak" in head_of(frame)
    other = slot.connect()
    task(other, 9)
    assert waiting().number == 9


def test_a_client_that_has_gone_kills_nobody_by_sigpipe(slot: Slot) -> None:
    import signal

    waiting = slot.receive()
    peer = slot.connect()
    peer.send(Kind.RESUME, (0, 0))
    task(peer)
    waiting()
    peer.close()
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        for _ in range(3):
            slot.channel.send_output(line)
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert len(slot.channel._output) == 3


# tasks that are held back


def hold_back(slot: Slot, peer: Peer, frame: Frame) -> None:
    slot.channel.hold_back(frame, encode(Kind.WANT, head="what it lacks"))
    assert peer.heads(1) == ["what it lacks"]


def held_back(slot: Slot) -> Peer:
    """A client whose first task lacks something, and has asked for it."""
    waiting = slot.receive()
    peer = slot.connect()
    peer.send(Kind.RESUME, (0, 0))
    task(peer, 1)
    frame = waiting()
    peer.heads(1)
    hold_back(slot, peer, frame)
    return peer


def test_a_task_that_is_held_back_keeps_its_place_and_lets_all_else_through(slot: Slot) -> None:
    peer = held_back(slot)
    waiting = slot.receive()
    task(peer, 2)
    frame = waiting()
    assert frame.number == 1, "with each task behind it, it is looked at again"
    hold_back(slot, peer, frame)
    waiting = slot.receive()
    peer.send(Kind.SHARE)
    peer.send(Kind.FUNCTION, ("f",))
    peer.send(Kind.LOOK)
    assert waiting().number == 1
    assert slot.applied == [Kind.SHARE, Kind.FUNCTION, Kind.LOOK]
    assert slot.receive()().number == 2


def test_a_task_that_is_held_back_is_forgotten_with_its_connection(slot: Slot) -> None:
    held_back(slot).close()
    waiting = slot.receive()
    again = slot.connect()
    again.send(Kind.RESUME, (0, 0))
    task(again, 7)
    assert waiting().number == 7


def test_what_is_asked_for_before_the_client_has_resumed_is_not_sent(slot: Slot) -> None:
    slot.connect()
    slot.channel.send_output(line)  # accepts it
    slot.channel.tell(encode(Kind.WANT, head="what it lacks"))
    waiting = slot.receive()
    peer = slot.peers[-1]
    peer.send(Kind.RESUME, (0, 0))
    task(peer)
    waiting()
    assert peer.heads(2)[1] == "line 1"
