"""A slot's end of its socket: one client at a time, and what was not acknowledged is kept.

A dropped connection is neither a lost task nor a lost line. The channel accepts the client again, tells it what it
holds, hears from it what has arrived, and sends the rest once more. A newer connection replaces the older one, whose
network may be dead without either end having been told.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Buffer, Callable, Iterator

from skyward.worker.greeting import greet, refuse, roomy
from skyward.worker.protocol import Frame, FrameError, FrameReader, Kind, encode, head_of

__all__ = ["Channel"]

_KEPT_LINES = 10_000
"""Frames of output kept until they are acknowledged; of more than that the oldest are dropped."""
_KEPT_BYTES = 16 << 20
_LOOK_EVERY = 64
"""Lines after which a task that prints looks for acknowledgements, which nobody else reads while it runs."""
_QUIETLY = getattr(socket, "MSG_NOSIGNAL", 0)
"""No SIGPIPE from a connection that ended: user code may have put the deadly default back."""


class Channel:
    """Frames to and from the client over a listening Unix socket.

    Args:
        listener: the slot's listening socket.
        token: what a client must show first.
        welcome: returns the facts that a client is told when it connects.
        apply: takes, in order and in the main thread, the frames that are no tasks. What it returns says whether the
            task that is held back may be looked at again.
        welcomed: called each time that a client has been told those facts.
    """

    def __init__(
        self,
        listener: socket.socket,
        token: bytes,
        welcome: Callable[[], dict[str, object]],
        apply: Callable[[Frame], object],
        welcomed: Callable[[], object] | None = None,
    ) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._token = token
        self._welcome = welcome
        self._apply = apply
        self._welcomed = welcomed
        self._peer: socket.socket | None = None
        self._resumed = False  # whether the peer has said what it has received
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._held: deque[Frame] = deque()  # a task that lacks something, and those behind it
        self._waiting = False  # whether the first one of them still does
        self._results: deque[tuple[int, list[Buffer]]] = deque()
        self._output: deque[tuple[int, list[Buffer]]] = deque()
        self._output_bytes = 0
        self._lines = 0
        self._lock = threading.RLock()
        self._receiving = False
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def receive(self) -> Frame:
        """Wait for the next task of an accepted client. Main thread only."""
        while True:
            with self._lock:
                while True:
                    if self._held and not self._waiting:
                        return self._held.popleft()
                    if not self._frames:
                        break
                    frame = self._frames.popleft()
                    if frame.kind != Kind.TASK:
                        if self._apply(frame):
                            self._waiting = False
                    elif self._held:
                        self._held.append(frame)
                        self._waiting = False  # what was asked for may have got lost with the connection before
                    else:
                        return frame
                self._receiving = True
            ready = self._poll.poll()
            with self._lock:
                self._receiving = False
                for descriptor, _ in ready:
                    if descriptor == self._listener.fileno():
                        self._accept()
                    elif self._peer is not None and descriptor == self._peer.fileno():
                        self._read(self._peer)

    def hold_back(self, frame: Frame, ask: list[Buffer]) -> None:
        """Give a task back that lacks something, and ask the client for that. No other task goes before it."""
        with self._lock:
            self._held.appendleft(frame)
            self._waiting = True
            self.tell(ask)

    def tell(self, parts: list[Buffer]) -> None:
        """Send a frame that nobody misses who connects anew, or asks for it again then."""
        with self._lock:
            if self._resumed:
                self._send(parts)

    def send_result(self, sequence: int, parts: list[Buffer], finish: Callable[[], None]) -> None:
        """Keep a result until it is acknowledged, have the task ``finish``, and send it."""
        with self._lock:
            self._results.append((sequence, parts))
            finish()
            if self._resumed:
                self._send(parts)

    def send_output(self, make: Callable[[int], list[Buffer]]) -> None:
        """Send a line of output, made with its number. It is kept, within limits, until it is acknowledged."""
        with self._lock:
            self._lines += 1
            parts = make(self._lines)
            self._output.append((self._lines, parts))
            self._output_bytes += _size(parts)
            while len(self._output) > _KEPT_LINES or self._output_bytes > _KEPT_BYTES:
                self._forget_line()
            if self._peer is None and not self._receiving:
                self._accept()
            if self._resumed:
                self._send(parts)
            if self._peer is not None and not self._receiving and (not self._resumed or not self._lines % _LOOK_EVERY):
                self._read(self._peer)

    def acknowledge(self, sequence: int, lines: int) -> None:
        """Forget the results up to ``sequence`` and the output up to ``lines``."""
        if (self._results and self._results[0][0] <= sequence) or (self._output and self._output[0][0] <= lines):
            with self._lock:
                while self._results and self._results[0][0] <= sequence:
                    self._results.popleft()
                while self._output and self._output[0][0] <= lines:
                    self._forget_line()

    def _forget_line(self) -> None:
        _, parts = self._output.popleft()
        self._output_bytes -= _size(parts)

    # all below with the lock held

    def _read(self, peer: socket.socket) -> None:
        try:
            count = peer.recv_into(self._reader.get_buffer())
            if count:
                self._take(self._reader.advance(count))
                return
        except BlockingIOError:
            return
        except FrameError as error:
            refuse(peer, str(error))
        except OSError:
            pass
        self._drop()

    def _take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.kind == Kind.TASK:  # as most
                self._frames.append(frame)
            elif frame.kind == Kind.ACK:
                self.acknowledge(*head_of(frame))
            elif frame.kind == Kind.RESUME:
                self.acknowledge(*head_of(frame))
                self._resume()
            else:
                self._frames.append(frame)

    def _accept(self) -> None:
        """Take a waiting client, if there is one, in place of the present one."""
        met = greet(self._listener, self._token)
        if met is None:
            return
        peer, reader, rest = met
        self._drop()
        peer.setblocking(False)
        roomy(peer)
        self._peer, self._reader = peer, reader
        self._poll.register(peer, select.POLLIN)
        done = [sequence for sequence, _ in self._results]
        if self._send(encode(Kind.WELCOME, head={**self._welcome(), "done": done})):
            self._take(rest)
            if self._welcomed is not None:
                self._welcomed()

    def _resume(self) -> None:
        """Send everything that the client has not received, the lines ahead of the results."""
        peer, self._resumed = self._peer, True
        for _, parts in [*self._output, *self._results]:
            if self._peer is not peer or not self._send(parts):
                return

    def _drop(self) -> None:
        self._resumed = False
        self._frames.clear()  # what was not begun will be sent again
        self._held.clear()
        if self._peer is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._poll.unregister(self._peer)
            self._peer.close()
            self._peer = None

    def _send(self, parts: list[Buffer]) -> bool:
        """Write a frame whole; False when the connection broke before its end."""
        peer = self._peer
        if peer is None:
            return False
        if len(parts) == 1:  # as most are, and then it mostly goes out at once
            whole = memoryview(parts[0]).cast("B")
            try:
                sent = peer.send(whole, _QUIETLY)
            except OSError:  # met again below, and dealt with there
                sent = 0
            if sent == len(whole):
                return True
            parts = [whole[sent:]]
        for vector in _vectors(parts):
            pending = vector
            while pending:
                try:
                    sent = peer.sendmsg(pending, (), _QUIETLY)
                except BlockingIOError:
                    if not self._writable(peer):
                        return False
                    continue
                except OSError:
                    self._drop()
                    return False
                pending = _rest(pending, sent)
        return True

    def _writable(self, peer: socket.socket) -> bool:
        """Wait until the peer takes more; False when a newer client has replaced it meanwhile."""
        waiting = select.poll()
        waiting.register(peer, select.POLLOUT)
        waiting.register(self._listener, select.POLLIN)
        for descriptor, _ in waiting.poll():
            if descriptor == self._listener.fileno():
                if self._receiving:  # the main thread is about to accept it
                    self._drop()
                else:
                    self._accept()
        return self._peer is peer


def _size(parts: list[Buffer]) -> int:
    return sum(memoryview(part).nbytes for part in parts)


def _vectors(parts: list[Buffer]) -> Iterator[list[memoryview]]:
    """Cut a frame into runs that one ``sendmsg`` accepts (IOV_MAX is 1024 on Linux and macOS)."""
    for begin in range(0, len(parts), 1000):
        yield [memoryview(part).cast("B") for part in parts[begin : begin + 1000]]


def _rest(pending: list[memoryview], sent: int) -> list[memoryview]:
    """What of ``pending`` is left after ``sent`` bytes went out."""
    for index, part in enumerate(pending):
        if sent < len(part):
            return [part[sent:], *pending[index + 1 :]]
        sent -= len(part)
    return []
