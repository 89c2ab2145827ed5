"""Frames over a channel of an SSH connection to a socket of its machine."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Buffer, Callable, Sequence
from typing import Any

import asyncssh

from skyward._ssh.lane import Lane
from skyward._ssh.pulse import Pulse
from skyward.errors import ProtocolError
from skyward.spi.transport import Receiver, Wire
from skyward.worker.protocol import Frame, FrameError, FrameReader, Kind, head_of

__all__ = ["WINDOW", "ChannelLink"]

WINDOW = 16 << 20
"""Bytes that may be on their way here at a time, on one channel: as many as 150 MB/s take in 100 ms. None of them has
to be kept, since frames are taken in as they come. With packets of 128 KiB instead of the usual 32, sshd sometimes fell
to a fifth of its speed."""
_PIECE = 256 << 10
"""Bytes that are given to the channel at a time."""


class ChannelLink(asyncssh.SSHUNIXSession[bytes]):
    """A ``Link``, and what asyncssh tells of its channel. All but ``send`` and ``close`` is called by the wire alone.

    Args:
        wire: the pool's own thread, on whose loop the connection is.
        lane: the connection's, if it has one.
        pulse: the connection's.
        greeting: the bytes that are sent first.
    """

    def __init__(self, wire: Wire, lane: Lane | None, pulse: Pulse, greeting: bytes) -> None:
        self._wire = wire
        self._lane = lane
        self._pulse = pulse
        self._greeting = greeting
        self._chan: asyncssh.SSHUNIXChannel[bytes] | None = None
        self._put: Callable[[Any], None]  # writes to the channel
        self._receiver: Receiver | None = None
        self._reader = FrameReader()
        self._queue: deque[Sequence[Buffer]] = deque()
        self._asked = False  # whether the queue is going to be seen to
        self._full = False  # whether the channel takes no more for now
        self._closed = False
        self.ended = asyncio.Event()

    # outwards

    def send(self, parts: Sequence[Buffer]) -> None:
        """Write a frame; what the channel does not take now goes out later, in order."""
        self._queue.append(parts)
        if not self._asked:
            self._asked = True
            self._wire.now(self._flush)

    def close(self) -> None:
        """Close this end, behind what was sent."""
        self._closed = True
        self._wire.now(self._flush)

    def _flush(self) -> None:
        self._asked = False
        queue, chan = self._queue, self._chan
        if chan is None:
            queue.clear()
            return
        try:
            while queue and not self._full:
                parts = queue.popleft()
                if len(parts) == 1 and type(parts[0]) is bytes and len(parts[0]) <= _PIECE and not queue:  # as mostly
                    self._put(parts[0])
                else:
                    self._write(parts)
        except OSError:  # the channel is closing, and says so itself
            queue.clear()
        if self._closed and not queue:
            chan.close()

    def _write(self, parts: Sequence[Buffer]) -> None:
        """Give the channel the next piece; what is left goes back to the front of the queue."""
        first = memoryview(parts[0]).cast("B")
        rest = parts[1:]
        if len(first) > _PIECE:
            rest = [first[_PIECE:], *rest]
            first = first[:_PIECE]
        elif not rest:  # small frames share a packet
            short, size = [first], len(first)
            while self._queue and len(self._queue[0]) == 1 and size < _PIECE:
                more = memoryview(self._queue[0][0]).cast("B")
                size += len(more)
                if size <= _PIECE:
                    short.append(more)
                    self._queue.popleft()
            if len(short) > 1:
                first = memoryview(b"".join(short))
        if rest:
            self._queue.appendleft(rest)
        self._put(first if self._lane is not None else bytes(first))

    def pause_writing(self) -> None:
        """The channel has enough for now."""
        self._full = True

    def resume_writing(self) -> None:
        """The channel takes bytes again."""
        self._full = False
        self._flush()

    # inwards

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        """The channel is open. What comes waits in it until somebody listens."""
        self._chan = chan
        self._put = chan.write if self._lane is None else functools.partial(self._lane.write, chan)
        chan.pause_reading()
        chan.write(self._greeting)
        if self._lane is not None:
            self._lane.carry(chan)

    def lead_to(self, receiver: Receiver) -> None:
        """Hand frames to ``receiver`` from now on, and what has come already."""
        self._receiver = receiver
        if self._chan is not None:
            self._chan.resume_reading()
        else:
            self._lose(None)

    def data_received(self, data: bytes | memoryview, datatype: int | None) -> None:
        """Take bytes in, and hand on the frames that they complete."""
        self._pulse.beats += 1
        assert self._receiver is not None
        reader, size = self._reader, len(data)
        try:
            space = reader.get_buffer()
            if size <= len(space):  # as with most
                space[:size] = data
                frames = reader.advance(size)
            else:
                frames = self._frames(memoryview(data))
            for frame in frames:
                if self._closed:
                    return
                if frame.kind == Kind.REFUSED:
                    raise FrameError(f"the node closed the connection: {head_of(frame)}")
                self._receiver.on_frame(frame)
        except FrameError as error:
            self._lose(ProtocolError(str(error)))

    def _frames(self, rest: memoryview) -> list[Frame]:
        reader, frames = self._reader, list[Frame]()
        while rest:
            space = reader.get_buffer()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            frames += reader.advance(count)
            rest = rest[count:]
        return frames

    def eof_received(self) -> bool:
        """The far end has closed its socket; the channel closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel has ended."""
        if self._lane is not None and self._chan is not None:
            self._lane.drop(self._chan)
        self._chan = None
        self._queue.clear()
        self.ended.set()
        if self._receiver is not None:
            self._lose(exc)

    def _lose(self, error: Exception | None) -> None:
        if not self._closed:
            self.close()
            assert self._receiver is not None
            self._receiver.on_lost(error)
