"""Memory for large buffers: used again once nobody refers to it, and never before."""

from __future__ import annotations

from collections.abc import Buffer

from skyward.worker.protocol import FrameReader, Kind, encode

SIZE = 2 << 20


def receive(reader: FrameReader, content: bytes) -> Buffer:
    stream = b"".join(encode(Kind.TASK, 1, None, [content]))
    frames = []
    while stream:
        room = reader.get_buffer()
        taken = min(len(room), len(stream))
        room[:taken] = stream[:taken]
        stream = stream[taken:]
        frames += reader.advance(taken)
    (frame,) = frames
    return frame.buffers[0]


def test_the_memory_of_a_large_buffer_is_used_again_once_nobody_refers_to_it() -> None:
    reader = FrameReader()
    first = receive(reader, b"a" * SIZE)
    address = id(first)
    del first
    second = receive(reader, b"b" * SIZE)
    assert id(second) == address
    assert bytes(second) == b"b" * SIZE


def test_memory_that_is_still_referred_to_is_left_alone() -> None:
    reader = FrameReader()
    first = receive(reader, b"a" * SIZE)
    view = memoryview(first)[5:10]
    del first
    receive(reader, b"b" * SIZE)
    assert bytes(view) == b"aaaaa"


def test_memory_that_is_kept_for_the_next_large_buffer_is_given_back_after_some_small_frames() -> None:
    reader = FrameReader()
    receive(reader, b"a" * SIZE)
    assert reader._spare is not None
    for _ in range(20):
        receive(reader, b"small")
    assert reader._spare is None


def test_a_buffer_of_another_size_gets_memory_of_its_own() -> None:
    reader = FrameReader()
    receive(reader, b"a" * SIZE)
    assert bytes(receive(reader, b"b" * (SIZE + 1))) == b"b" * (SIZE + 1)
