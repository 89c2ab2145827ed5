"""A slot's end of its socket: one client at a time, and results kept until the client has acknowledged them.

A dropped connection is not a lost task. The channel accepts the client again, tells it what it holds, and sends
every result that was not acknowledged once more. A newer connection replaces the older one, whose network may be
dead without either end having been told.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections import deque
from collections.abc import Buffer, Callable, Iterable, Iterator

from skyward.worker.greeting import greet, refuse
from skyward.worker.protocol import Frame, FrameError, FrameReader, Kind, encode

__all__ = ["Channel"]

_KEPT_LINES = 10_000
"""Frames of output kept while no client is connected; older ones are dropped and counted."""


class Channel:
    """Frames to and from the client over a listening Unix socket.

    Args:
        listener: the slot's listening socket.
        token: what a client must show first.
        welcome: returns the facts that a client is told when it connects.
    """

    def __init__(self, listener: socket.socket, token: bytes, welcome: Callable[[], dict[str, object]]) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._token = token
        self._welcome = welcome
        self._peer: socket.socket | None = None
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._unacknowledged: deque[tuple[int, list[Buffer]]] = deque()
        self._output: deque[list[Buffer]] = deque(maxlen=_KEPT_LINES)
        self._dropped = 0
        self._lock = threading.RLock()
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def receive(self) -> Frame:
        """Wait for the next frame of an accepted client. Main thread only."""
        while not self._frames:
            ready = self._poll.poll()
            with self._lock:
                for descriptor, _ in ready:
                    if descriptor == self._listener.fileno():
                        self._accept()
                    elif self._peer is not None and descriptor == self._peer.fileno():
                        self._read(self._peer)
        return self._frames.popleft()

    def send_result(self, sequence: int, parts: list[Buffer]) -> None:
        """Send a result and keep it until it is acknowledged."""
        with self._lock:
            self._unacknowledged.append((sequence, parts))
            self._send(parts)

    def send_output(self, parts: list[Buffer]) -> None:
        """Send a line of output; while nobody is connected the newest ones are kept."""
        with self._lock:
            if self._peer is None:
                self._accept()
            while self._peer is not None:  # a newer client may take over in the middle: then it gets the whole frame
                if self._send(parts):
                    return
            self._dropped += len(self._output) == self._output.maxlen
            self._output.append(parts)

    def acknowledge(self, sequence: int) -> None:
        """Forget the results up to ``sequence``."""
        kept = self._unacknowledged
        if kept and kept[0][0] <= sequence:
            with self._lock:
                while kept and kept[0][0] <= sequence:
                    kept.popleft()

    def _read(self, peer: socket.socket) -> None:
        try:
            count = peer.recv_into(self._reader.get_buffer())
            if count:
                self._frames.extend(self._reader.advance(count))
                return
        except BlockingIOError:
            return
        except FrameError as error:
            refuse(peer, str(error))
        except OSError:
            pass
        self._drop()

    def _accept(self) -> None:
        """Take a waiting client, if there is one, in place of the present one."""
        met = greet(self._listener, self._token)
        if met is None:
            return
        peer, reader, rest = met
        self._drop()
        peer.setblocking(False)
        self._peer, self._reader = peer, reader
        self._frames.clear()
        self._frames.extend(rest)
        self._poll.register(peer, select.POLLIN)
        done = [sequence for sequence, _ in self._unacknowledged]
        self._send(encode(Kind.WELCOME, head={**self._welcome(), "done": done, "dropped_lines": self._dropped}))
        while self._output and self._peer is peer:
            if not self._send(self._output[0]):
                return
            self._output.popleft()
        for _, parts in list(self._unacknowledged):
            self._send(parts)

    def _drop(self) -> None:
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
        for vector in _vectors(parts):
            pending = vector
            while pending:
                try:
                    sent = peer.sendmsg(pending) if len(pending) > 1 else peer.send(pending[0])
                except BlockingIOError:
                    if not self._writable(peer):
                        return False
                    continue
                except OSError as error:
                    if error.errno == errno.EINTR:
                        continue
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
                self._accept()
        return self._peer is peer


def _vectors(parts: list[Buffer]) -> Iterable[list[memoryview]]:
    """Cut a frame into runs that one ``sendmsg`` accepts (IOV_MAX is 1024 on Linux and macOS)."""
    if len(parts) == 1:
        return [[memoryview(parts[0]).cast("B")]]
    return _many_vectors(parts)


def _many_vectors(parts: list[Buffer]) -> Iterator[list[memoryview]]:
    for begin in range(0, len(parts), 1000):
        yield [memoryview(part).cast("B") for part in parts[begin : begin + 1000]]


def _rest(pending: list[memoryview], sent: int) -> list[memoryview]:
    """What of ``pending`` is left after ``sent`` bytes went out."""
    if len(pending) == 1 and sent == len(pending[0]):
        return []
    for index, part in enumerate(pending):
        if sent < len(part):
            return [part[sent:], *pending[index + 1 :]]
        sent -= len(part)
    return []
