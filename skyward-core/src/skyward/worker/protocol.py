"""The frames that client and node exchange; the one module that both ends import.

A frame is a fixed header, a small head, the lengths of its buffers, and the buffers themselves:

    magic "SKY" | version | kind | flags | reserved | number | head length | buffer count | body length
    head | buffer lengths, 8 bytes each | buffers

``number`` is the task's number where there is one. All integers are big-endian. The head of ``HELLO`` is the raw
token. Those of a task and of its end are packed integers, since each call has both; every other one is a pickle, and
is read only after the token was accepted. A frame that is malformed, too large or of another version raises
:class:`FrameError`, upon which either end closes the connection.
"""

from __future__ import annotations

import contextlib
import mmap
import pickle
import struct
import sys
from collections.abc import Buffer, Sequence
from enum import IntEnum
from typing import Any, Final

__all__ = [
    "END",
    "HEADER",
    "RAISED",
    "SHARES",
    "TASK",
    "UNPICKLABLE",
    "VERSION",
    "Frame",
    "FrameError",
    "FrameReader",
    "Kind",
    "allocate",
    "encode",
    "head_of",
    "size_of",
]

MAGIC: Final = b"SKY"
VERSION: Final = 1
HEADER: Final = struct.Struct("!3sBBBHQIIQ")

TASK: Final = struct.Struct("!QQQ?16s")
"""The head of a task: its sequence, the sequence and the lines that were acknowledged, whether it is sent ahead, and
the function's digest."""
END: Final = struct.Struct("!QQdB")
"""The head of a result or a failure: the task's sequence, the raw lines to be told before it, the seconds that it took,
and how it failed."""
RAISED: Final = 1
"""Of an `END`: the report is of an exception."""
UNPICKLABLE: Final = 2
"""Of an `END`: the report says what of the result cannot be pickled."""
SHARES: Final = 1
"""A flag of a task's frame: its last buffer tells which shared contents belong among the others."""

_SIZE: Final = HEADER.size
_LENGTH: Final = struct.Struct("!Q")

MAX_GREETING: Final = 1 << 10
"""Bytes of the first frame's head, which is read before it is known who speaks."""
MAX_HEAD: Final = 16 << 20
MAX_BUFFERS: Final = 1 << 24
"""Of buffers that are worth a place of their own: 4 KiB each, as both ends send them, make 64 GiB."""
MAX_BODY: Final = 1 << 38
"""256 GiB: more than a node's memory, so that only nonsense is refused."""

_SCRATCH: Final = 128 << 10
_SMALL: Final = 32 << 10
"""A piece up to this size is gathered in the scratch buffer; a larger one is received straight into its own."""
_HUGE: Final = 1 << 20
"""From this size a buffer is mapped memory, which the kernel may back with huge pages (far fewer page faults)."""

_SPARE_FOR: Final = 16
"""Small frames after which memory that was kept for the next large buffer is given back."""


class Kind(IntEnum):
    """What a frame says. The comment names the direction: client (c), slot (s), supervisor (v)."""

    HELLO = 1  # c -> s, v   the token
    WELCOME = 2  # s, v -> c   what the peer already holds
    REFUSED = 3  # s, v -> c   why the connection is closed
    TASK = 10  # c -> s       `TASK`
    RESULT = 11  # s -> c       `END`
    FAILURE = 12  # s -> c       `END`
    LOG = 13  # s, v -> c    (line, stream, timestamp, slot, number of the line)
    FUNCTION = 14  # c -> s       (digest,)
    MODULES = 15  # c -> s       (digest,)
    ACK = 16  # c -> s       (sequence, lines) received
    FORGET = 17  # c -> s       (digests,)
    EVENT = 18  # s -> c       (number of the line,), with an event that user code emitted
    RESUME = 19  # c -> s       (sequence, lines) received; answered with all that came after
    HEAD = 20  # c -> s       (address, port) where node 0 can be met from now on
    WANT = 21  # s -> c       (digests,) of shared contents that the task needs which is next, and this node lacks
    SHARE = 22  # c -> s       (digest, offset, size), with bytes of a shared content
    SHARED = 23  # s -> c       (digest,) whose bytes have all arrived
    LOOK = 24  # c -> s       (digests, sequence) that may be here now or can be asked for, and a task that is cancelled
    CONFIGURE = 30  # c -> v       a dictionary: the cluster, the slots, the environment; answered with all deaths
    SLOT_UP = 31  # v -> c       (slot, generation)
    SLOT_DOWN = 32  # v -> c       a dictionary: which slot, how it died, what it was running
    PING = 33  # c -> v       renews the lease
    PONG = 34  # v -> c
    CANCEL = 35  # c -> v       (slot, sequence)
    RECALL = 36  # c -> v       (slot, sequence)
    RECALLED = 37  # v -> c       (slot, sequence, whether the task will not run)
    EXTEND = 38  # c -> v       (seconds from now until the deadline,)
    METRICS = 39  # v -> c       a dictionary
    STOP = 40  # c -> v
    GOODBYE = 41  # v -> c       (reason,)
    NOTICE = 42  # v -> c       (reason, seconds until the machine is taken back or None)
    GATHER = 50  # c -> s       (sequence, call, address, what to ask of the process with, size): a port for the task
    # that will bear this number; answered. Without an address: the call will not need it after all
    PORT = 51  # s -> c       (sequence, port, why there is none, what the process is bound to, why nobody knows)
    GROUP = 52  # c -> s       (sequence, call, rank, members, address, what to ask of the process with): who runs
    # together with the next task
    RENEW = 53  # c -> s       end this process, so that the slot goes on in a new one


class FrameError(Exception):
    """Bytes that are not a frame of this version, or a frame larger than allowed."""


class Frame:
    """One message: its kind, the task's number, the head's bytes and the buffers."""

    __slots__ = ("buffers", "flags", "head", "kind", "number")

    def __init__(self, kind: int, number: int, flags: int, head: Buffer, buffers: list[Buffer]) -> None:
        self.kind = kind
        self.number = number
        self.flags = flags
        self.head = head
        self.buffers = buffers


def head_of(frame: Frame) -> Any:
    """Unpickle a frame's head, if it is a pickle. Call it only on frames of a peer whose token was accepted."""
    return pickle.loads(frame.head)


def encode(
    kind: int,
    number: int = 0,
    head: object = None,
    buffers: Sequence[Buffer] = (),
    *,
    raw_head: bytes | None = None,
    flags: int = 0,
) -> list[Buffer]:
    """Return the frame as a list of byte-like parts to be written in order; buffers are not copied.

    A frame whose buffers are small comes back as one part, so that it goes out in one write.
    """
    packed = pickle.dumps(head, 5) if raw_head is None else raw_head
    if not buffers:
        return [HEADER.pack(MAGIC, VERSION, kind, flags, 0, number, len(packed), 0, 0) + packed]
    if len(buffers) == 1 and type(only := buffers[0]) is bytes and len(only) <= _SMALL:  # most tasks and results
        size = len(only)
        start = HEADER.pack(MAGIC, VERSION, kind, flags, 0, number, len(packed), 1, size)
        return [b"".join((start, packed, _LENGTH.pack(size), only))]
    lengths = [size_of(buffer) for buffer in buffers]
    body = sum(lengths)
    start = HEADER.pack(MAGIC, VERSION, kind, flags, 0, number, len(packed), len(lengths), body) + packed
    start += struct.pack(f"!{len(lengths)}Q", *lengths)
    if body <= _SMALL:
        return [b"".join([start, *buffers])]
    return [start, *buffers]


def size_of(buffer: Buffer) -> int:
    """Size in bytes of anything with the buffer protocol."""
    return len(buffer) if isinstance(buffer, (bytes, bytearray)) else memoryview(buffer).nbytes


def allocate(size: int) -> Buffer:
    """Return writable memory of ``size`` bytes for a received buffer.

    Raises:
        FrameError: this machine does not have it.
    """
    if size < _HUGE:
        return bytearray(size)
    try:
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise FrameError(f"there is no memory for a buffer of {size} bytes: {error}") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel built without transparent huge pages
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


class FrameReader:
    """Cuts a stream of bytes into frames without copying large buffers.

    Receive into ``get_buffer()`` and tell ``advance(count)`` how many bytes came; it returns the frames that are
    whole. The shape is that of ``asyncio.BufferedProtocol``, so sockets and asyncio transports both fit.

    Args:
        greeting: whether the first frame must be a ``HELLO`` of a few bytes, from a peer that nobody knows yet.
    """

    __slots__ = (
        "_body",
        "_bytes",
        "_direct",
        "_end",
        "_filled",
        "_frame",
        "_greeting",
        "_lengths",
        "_pieces",
        "_scratch",
        "_small_frames",
        "_spare",
        "_start",
        "_target",
    )

    def __init__(self, *, greeting: bool = False) -> None:
        self._greeting = greeting
        self._bytes = bytearray(_SCRATCH)  # whose slices are copies, and cheaper than copies of slices
        self._scratch = memoryview(self._bytes)
        self._start = 0
        self._end = 0
        self._frame: tuple[int, int, int] | None = None
        self._lengths: list[int] = []
        self._pieces: list[Buffer] = []
        self._body = 0
        self._target: Buffer = b""
        self._spare: Buffer | None = None
        self._small_frames = 0
        self._direct: memoryview | None = None
        self._filled = 0

    def get_buffer(self) -> memoryview:
        """Return the memory that the next bytes belong into; never empty."""
        if self._direct is not None:
            return self._direct[self._filled :]
        if self._start == self._end:
            self._start = self._end = 0
            return self._scratch
        if self._end > _SCRATCH - _SMALL:
            count = self._end - self._start
            self._scratch[:count] = bytes(self._scratch[self._start : self._end])
            self._start, self._end = 0, count
        return self._scratch[self._end :]

    def advance(self, count: int) -> list[Frame]:
        """Take ``count`` received bytes into account and return the frames that they complete.

        Raises:
            FrameError: the bytes are no frame, or one that is not acceptable. The stream is of no use from here on.
        """
        frames: list[Frame] = []
        if self._direct is None:
            self._end += count
        else:
            self._filled += count
            if self._filled < len(self._direct):
                return frames
            self._direct = None
            self._piece(self._target, frames)
            self._target = b""
        while self._start != self._end or self._frame is not None:
            if not (self._header(frames) if self._frame is None else self._next(frames)):
                break
        return frames

    def _next(self, frames: list[Frame]) -> bool:
        """Consume one piece from the scratch buffer; False when more bytes are needed first."""
        available = self._end - self._start
        need = self._lengths[len(self._pieces)]
        if need <= _SMALL:
            if available < need:
                return False
            piece: Buffer = self._bytes[self._start : self._start + need]
            self._start += need
            self._piece(piece, frames)
            return True
        self._target = self._memory(need)
        self._direct = memoryview(self._target)
        self._filled = min(available, need)
        self._direct[: self._filled] = self._scratch[self._start : self._start + self._filled]
        self._start += self._filled
        if self._filled < need:
            return False
        self._direct = None
        self._piece(self._target, frames)
        self._target = b""
        return True

    def _memory(self, size: int) -> Buffer:
        """Memory for a large buffer: that of the last one if nobody refers to it any more: its pages are there."""
        self._small_frames = 0
        spare = self._spare
        if spare is not None and size_of(spare) == size and _references(self) == _UNSHARED + 1:  # the name above
            return spare
        spare = allocate(size)
        self._spare = spare if size >= _HUGE else None
        return spare

    def _header(self, frames: list[Frame]) -> bool:
        """Consume a header, with the whole frame if it is a small one; False when more bytes are needed first."""
        raw, start = self._bytes, self._start
        available = self._end - start
        if available < _SIZE:
            return False
        magic, version, kind, flags, _, number, head, count, body = HEADER.unpack_from(raw, start)
        if magic != MAGIC:
            raise FrameError("the peer does not speak Skyward's protocol")
        if version != VERSION:
            raise FrameError(f"the peer speaks version {version} of the protocol, this end version {VERSION}")
        if count <= 1 and head + body <= _SMALL and not self._greeting and (count or not body):  # most frames
            size = _SIZE + head + (_LENGTH.size + body if count else 0)
            if available < size:
                return False
            middle, end = start + _SIZE + head, start + size
            buffers: list[Buffer] = []
            if count:
                if _LENGTH.unpack_from(raw, middle)[0] != body:
                    raise FrameError("a frame's buffers do not add up to its body")
                buffers.append(raw[end - body : end])
            self._start = end
            self._small_frames += 1
            if self._small_frames > _SPARE_FOR:
                self._spare = None
            frames.append(Frame(kind, number, flags, raw[middle - head : middle], buffers))
            return True
        self._begin()
        return True

    def _begin(self) -> None:
        """Consume a header alone: the rest of the frame is taken piece by piece."""
        _, _, kind, flags, _, number, head, count, body = HEADER.unpack_from(self._scratch, self._start)
        if self._greeting:
            if kind != Kind.HELLO or count or head > MAX_GREETING:
                raise FrameError("the first frame is not a greeting")
            self._greeting = False
        if head > MAX_HEAD or count > MAX_BUFFERS or body > MAX_BODY:
            raise FrameError(f"a frame of {head} + {body} bytes in {count} buffers is over the limits")
        if count == 0 and body:
            raise FrameError("a frame announces a body without buffers")
        self._start += HEADER.size
        self._frame = (kind, number, flags)
        self._body = body
        self._lengths = [head, 8 * count] if count else [head]
        self._pieces = []

    def _piece(self, piece: Buffer, frames: list[Frame]) -> None:
        """Take the next piece of the current frame: its head, its table of lengths, then its buffers."""
        self._pieces.append(piece)
        if len(self._pieces) == 2:  # the table of lengths
            count = len(memoryview(piece)) // 8
            lengths = struct.unpack(f"!{count}Q", piece)
            if sum(lengths) != self._body:
                raise FrameError("a frame's buffers do not add up to its body")
            self._lengths.extend(lengths)
        if len(self._pieces) == len(self._lengths):
            assert self._frame is not None
            kind, number, flags = self._frame
            frames.append(Frame(kind, number, flags, self._pieces[0], self._pieces[2:]))
            self._frame = None
            self._pieces = []


def _references(reader: FrameReader) -> int:
    """How many references there are to the memory that a reader keeps, the reader's and this call's included."""
    return sys.getrefcount(reader._spare)


def _unshared() -> int:
    """What `_references` gives for memory that nobody else refers to; interpreters count a call's differently."""
    reader = FrameReader()
    reader._spare = bytearray(1)
    return _references(reader)


_UNSHARED: Final = _unshared()
