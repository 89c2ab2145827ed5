"""Frames arrive as they were sent however the stream is cut, and what is no frame is refused with the reason."""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyward.worker import protocol
from skyward.worker.protocol import HEADER, VERSION, Frame, FrameError, FrameReader, Kind, encode, head_of, size_of

SMALL = protocol._SMALL
SCRATCH = protocol._SCRATCH
HUGE = protocol._HUGE

around_thresholds = st.one_of(
    st.integers(0, 300),
    *(st.integers(size - 2, size + 2) for size in (SMALL - HEADER.size, SMALL, SCRATCH - SMALL, SCRATCH)),
)
chunks = st.lists(
    st.integers(1, 50) | st.integers(SMALL - 2, SMALL + 2) | st.integers(1, 2 * SCRATCH), min_size=1, max_size=6
)


def pattern(size: int, seed: int) -> bytes:
    """Bytes in which no stretch is like another one of the same frame."""
    return (struct.pack("!II", seed, size) + bytes((seed + index) % 251 for index in range(251))) * (size // 259 + 1)


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, int, bytes, list[bytes]]:
    """(kind, number, raw head, buffers)"""
    sizes = draw(st.lists(around_thresholds, max_size=4))
    buffers = [pattern(size, seed)[:size] for seed, size in enumerate(sizes)]
    head = pattern(draw(around_thresholds), 99)
    return draw(st.sampled_from(list(Kind))), draw(st.integers(0, 2**64 - 1)), head, buffers


def feed(reader: FrameReader, stream: bytes, sizes: Sequence[int] = (1 << 30,)) -> list[Frame]:
    """Give the stream to the reader in pieces of these sizes, over and over, as a socket would."""
    frames: list[Frame] = []
    position = turn = 0
    while position < len(stream):
        target = reader.get_buffer()
        count = min(len(target), sizes[turn % len(sizes)], len(stream) - position)
        assert count > 0, "the reader gives no room for more bytes"
        target[:count] = stream[position : position + count]
        frames += reader.advance(count)
        position += count
        turn += 1
    return frames


def joined(parts: Iterable[object]) -> bytes:
    return b"".join(bytes(memoryview(part).cast("B")) for part in parts)  # type: ignore[arg-type]


def content(frame: Frame) -> tuple[int, int, bytes, list[bytes]]:
    return frame.kind, frame.number, joined([frame.head]), [joined([buffer]) for buffer in frame.buffers]


@pytest.mark.slow
@pytest.mark.no_cover
@settings(max_examples=150, deadline=None)
@given(st.lists(messages(), max_size=5), chunks)
def test_frames_arrive_as_they_were_sent_however_the_stream_is_cut(
    sent: list[tuple[int, int, bytes, list[bytes]]], sizes: list[int]
) -> None:
    stream = b"".join(
        joined(encode(kind, number, None, buffers, raw_head=head)) for kind, number, head, buffers in sent
    )
    assert [content(frame) for frame in feed(FrameReader(), stream, sizes)] == sent


@settings(max_examples=50, deadline=None)
@given(messages(), st.data())
def test_a_frame_that_is_cut_off_is_not_handed_out(
    sent: tuple[int, int, bytes, list[bytes]], data: st.DataObject
) -> None:
    kind, number, head, buffers = sent
    stream = joined(encode(kind, number, None, buffers, raw_head=head))
    reader = FrameReader()
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert feed(reader, stream[:cut]) == []
    assert [content(frame) for frame in feed(reader, stream[cut:])] == [sent]


@pytest.mark.parametrize("size", [HUGE - 1, HUGE, HUGE + 1, 3 * HUGE])
@pytest.mark.parametrize("sizes", [[1 << 30], [SCRATCH], [SMALL + 1, 7, 100_000]])
def test_large_buffers_arrive_whole_and_can_be_written_to(size: int, sizes: list[int]) -> None:
    buffers = [pattern(size, 1)[:size], b"", pattern(size, 2)[:size]]
    stream = joined(encode(Kind.RESULT, 7, ("head",), buffers)) * 2
    frames = feed(FrameReader(), stream, sizes)
    assert len(frames) == 2
    for frame in frames:
        assert content(frame)[3] == buffers
        assert head_of(frame) == ("head",)
        for buffer in frame.buffers:
            assert not memoryview(buffer).readonly


@pytest.mark.parametrize("size", [SMALL + 1, HUGE, HUGE + 5])
def test_a_large_buffer_is_received_straight_into_its_own_memory(size: int) -> None:
    stream = joined(encode(Kind.RESULT, 1, None, [bytes(size)]))
    begin = len(stream) - size
    reader = FrameReader()
    assert feed(reader, stream[:begin]) == []
    places: list[object] = []
    frames: list[Frame] = []
    for position in range(begin, len(stream), 10_000):
        target = reader.get_buffer()
        places.append(target.obj)
        piece = stream[position : position + 10_000]
        assert len(target) == len(stream) - position, "no more than the buffer is read into it"
        target[: len(piece)] = piece
        frames = reader.advance(len(piece))
    assert all(place is frames[0].buffers[0] for place in places)


def test_what_came_with_the_header_of_a_large_buffer_is_not_lost() -> None:
    body = pattern(SCRATCH * 2, 5)[: SCRATCH * 2]
    stream = joined(encode(Kind.RESULT, 1, None, [body]))
    for first in (HEADER.size, HEADER.size + 40, SMALL, SCRATCH):
        assert content(feed(FrameReader(), stream, [first, 1 << 30])[0])[3] == [body]


def test_large_buffers_are_sent_without_a_copy_and_small_ones_in_one_write() -> None:
    large = bytearray(SMALL + 1)
    view = memoryview(bytearray(SMALL)).cast("B")
    parts = encode(Kind.TASK, 1, None, [large, view])
    assert parts[1] is large
    assert parts[2] is view
    assert len(encode(Kind.TASK, 1, None, [bytes(10), bytes(20)])) == 1
    assert len(encode(Kind.PING)) == 1


def test_the_size_of_a_buffer_is_in_bytes_whatever_its_items_are() -> None:
    words = memoryview(bytearray(80)).cast("d")
    assert (size_of(words), size_of(b"abc"), size_of(bytearray(5))) == (80, 3, 5)
    frame = feed(FrameReader(), joined(encode(Kind.TASK, 1, None, [words])))[0]
    assert content(frame)[3] == [bytes(80)]


def header(
    magic: bytes = b"SKY", version: int = VERSION, kind: int = 1, head: int = 0, count: int = 0, body: int = 0
) -> bytes:
    return HEADER.pack(magic, version, kind, 0, 0, 0, head, count, body)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "does not speak Skyward's protocol"),
        (b"\0" * HEADER.size, "does not speak Skyward's protocol"),
        (header(version=VERSION + 1), f"version {VERSION + 1} of the protocol, this end version {VERSION}"),
        (header(head=protocol.MAX_HEAD + 1), "over the limits"),
        (header(count=protocol.MAX_BUFFERS + 1), "over the limits"),
        (header(count=1, body=protocol.MAX_BODY + 1), "over the limits"),
        (header(body=1), "a body without buffers"),
        (header(count=2, body=10) + struct.pack("!2Q", 4, 5) + b"x" * 9, "do not add up"),
        (header(count=2, body=10) + struct.pack("!2Q", 2**64 - 1, 11), "do not add up"),
    ],
)
@pytest.mark.parametrize("sizes", [[1 << 30], [1]])
def test_what_is_no_acceptable_frame_is_refused_with_the_reason(stream: bytes, reason: str, sizes: list[int]) -> None:
    good = joined(encode(Kind.PING, 3))
    reader = FrameReader()
    assert [frame.number for frame in feed(reader, good)] == [3]
    with pytest.raises(FrameError, match=reason):
        feed(reader, stream, sizes)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, HEADER.size + 20), chunks)
def test_random_bytes_in_a_stream_raise_a_frame_error_or_nothing(noise: bytes, at: int, sizes: list[int]) -> None:
    stream = joined(encode(Kind.TASK, 1, ("a", 1), [b"x" * 30]))
    broken = stream[:at] + noise + stream[at + len(noise) :]
    with contextlib.suppress(FrameError):
        feed(FrameReader(), broken[: 3 * SCRATCH], sizes)


def test_memory_that_this_machine_does_not_have_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(FrameError, match=f"no memory for a buffer of {HUGE} bytes"):
        feed(FrameReader(), joined(encode(Kind.RESULT, 1, None, [bytes(HUGE)])))


def test_every_kind_has_a_number_of_its_own_that_fits_the_header() -> None:
    assert len({kind.value for kind in Kind}) == len(list(Kind.__members__))
    assert all(0 < kind < 256 for kind in Kind)
