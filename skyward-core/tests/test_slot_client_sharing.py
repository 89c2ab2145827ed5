"""What tasks share, as the client's view of a slot has it sent, against a double of the dispatcher and of the wire."""

from __future__ import annotations

from typing import Any

import pytest
from slot_bench import Bench, Wire, frame, task

from skyward._codec import Payload
from skyward._sharing import Sharing
from skyward._slot import SlotClient
from skyward._uploads import Uploads
from skyward.worker.protocol import SHARES, Kind, head_of
from skyward.worker.shared import CHUNK


class Shelf:
    """Two slots of a node, and tasks that share arrays."""

    def __init__(self) -> None:
        self.benches = Bench(), Bench()
        uploads: Uploads[SlotClient] = Uploads()
        for bench in self.benches:
            bench.slot._uploads = uploads
        (self.connection, self.wire), (self.other_connection, self.other_wire) = (b.connect() for b in self.benches)
        self.slot, self.other = (bench.slot for bench in self.benches)
        self.sharing = Sharing(above=8)
        self.content = bytes(range(256)) * (CHUNK // 100)
        self.clear()

    def task(self, number: int, *arguments: bytes) -> Any:
        made = task(number)
        buffers = [memoryview(b"s"), *(memoryview(each) for each in arguments or (self.content,))]
        rest, shared = self.sharing.part(buffers)
        made.payload = Payload(b"arguments", rest, frozenset(), shared)
        return made

    def digests(self, made: Any) -> list[bytes]:
        return list(made.payload.shared.views)

    def want(self, connection: Any, *digests: bytes) -> None:
        connection.on_frame(frame(Kind.WANT, (digests,)))

    def clear(self) -> None:
        self.wire.frames.clear()
        self.other_wire.frames.clear()

    @property
    def sent(self) -> tuple[bytes, bytes]:
        """The contents that each of the two has been sent."""
        first, second = (
            b"".join(bytes(memoryview(each.buffers[0])) for each in wire.frames if each.kind == Kind.SHARE)
            for wire in (self.wire, self.other_wire)
        )
        return first, second

    @property
    def looks(self) -> tuple[list[Any], list[Any]]:
        """What each of the two was told to look for."""
        first, second = (
            [head_of(each) for each in wire.frames if each.kind == Kind.LOOK] for wire in (self.wire, self.other_wire)
        )
        return first, second


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_task_travels_without_what_it_shares_which_is_sent_when_it_is_asked_for(shelf: Shelf) -> None:
    made = shelf.task(1)
    shelf.slot.send(made, ahead=False)
    (sent,) = (each for each in shelf.wire.frames if each.kind == Kind.TASK)
    assert sent.flags == SHARES
    assert sent.buffers == [b"arguments", b"s", made.payload.shared.table]
    assert shelf.sent == (b"", b"")
    shelf.want(shelf.connection, *shelf.digests(made))
    assert shelf.sent == (shelf.content, b"")
    heads = [head_of(each) for each in shelf.wire.frames if each.kind == Kind.SHARE]
    size = len(shelf.content)
    assert heads == [(shelf.digests(made)[0], offset, size) for offset in range(0, size, CHUNK)]
    assert size < shelf.sharing.sent < size + 2000


def test_a_task_whose_arguments_are_small_travels_as_ever(shelf: Shelf) -> None:
    made = shelf.task(1, bytes(3))
    shelf.slot.send(made, ahead=False)
    (sent,) = (each for each in shelf.wire.frames if each.kind == Kind.TASK)
    assert (sent.flags, sent.buffers) == (0, [b"arguments", b"s", bytes(3)])


def test_a_slot_that_asks_for_what_another_one_is_sent_is_told_when_to_look(shelf: Shelf) -> None:
    one, two = shelf.task(1), shelf.task(2)
    shelf.slot.send(one, ahead=False)
    shelf.other.send(two, ahead=False)
    (digest,) = shelf.digests(one)
    shelf.want(shelf.connection, digest)
    for _ in range(2):
        shelf.want(shelf.other_connection, digest)
        shelf.want(shelf.connection, digest)  # the same again, for a task behind the first
    assert shelf.sent == (shelf.content, b"")
    assert shelf.looks == ([], [])
    shelf.connection.on_frame(frame(Kind.SHARED, (digest,)))
    assert shelf.looks == ([], [((digest,), 0)])
    shelf.clear()
    shelf.want(shelf.other_connection, digest)  # the first one could not keep it for others
    assert shelf.sent == (b"", shelf.content)


def test_who_waits_for_a_slot_that_goes_away_is_told_to_ask_again(shelf: Shelf) -> None:
    one, two = shelf.task(1), shelf.task(2)
    shelf.slot.send(one, ahead=False)
    shelf.other.send(two, ahead=False)
    (digest,) = shelf.digests(one)
    shelf.want(shelf.connection, digest)
    shelf.want(shelf.other_connection, digest)
    shelf.connection.on_lost(None)
    assert shelf.looks == ([], [((digest,), 0)])
    shelf.want(shelf.other_connection, digest)
    assert shelf.sent[1] == shelf.content
    shelf.clear()
    again, wire = shelf.slot.connection(), Wire()
    again.attach(wire)
    shelf.benches[0].welcome(again)
    assert wire.tasks == [1]
    shelf.want(again, digest)  # and waits for the other one now
    assert shelf.sent == (b"", b"")
    shelf.other_connection.on_frame(frame(Kind.SHARED, (digest,)))
    assert [head_of(each) for each in wire.frames if each.kind == Kind.LOOK] == [((digest,), 0)]


def test_a_slot_that_asks_for_a_task_that_was_taken_back_is_told_to_look_at_that(shelf: Shelf) -> None:
    made = shelf.task(1)
    shelf.slot.send(made, ahead=True)
    (digest,) = shelf.digests(made)
    shelf.slot.release(1)
    shelf.want(shelf.connection, digest)
    assert shelf.sent == (b"", b"")
    assert shelf.looks == ([((digest,), 0)], [])
    shelf.other.send(shelf.task(2), ahead=False)
    shelf.want(shelf.other_connection, digest)
    assert shelf.sent[1] == shelf.content, "nobody else is being sent it"


def test_a_task_that_is_let_go_need_not_wait_for_what_it_shares(shelf: Shelf) -> None:
    shelf.slot.send(shelf.task(1), ahead=False)
    shelf.slot.send(task(2), ahead=True)
    for sequence in (1, 2, 3):
        shelf.slot.let_go(sequence)
    assert shelf.looks == ([((), 1)], [])


def test_several_that_a_task_shares_are_sent_one_after_the_other(shelf: Shelf) -> None:
    second = shelf.content[::-1]
    made = shelf.task(1, shelf.content, second)
    shelf.slot.send(made, ahead=False)
    shelf.want(shelf.connection, *shelf.digests(made))
    assert shelf.sent == (shelf.content + second, b"")
