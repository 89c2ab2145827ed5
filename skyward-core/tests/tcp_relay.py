"""A network that fails between a client and a server on this machine: a relay that cuts, freezes, delays and counts."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

type Plan = Callable[[int], tuple[int | None, int | None]]
"""For the n-th connection, counted from 0: after how many bytes up and down it is cut; ``None``: never."""

_PIECE = 1 << 16


class TcpRelay:
    """Listens on a loopback port and carries each connection to ``target``, also a port.

    ``delay`` is how long each byte is on its way, in seconds; how many are on their way at a time is not limited.
    """

    def __init__(self, target: int, plan: Plan = lambda _: (None, None), delay: float = 0.0) -> None:
        self.target = target
        self.plan = plan
        self.delay = delay
        self.cuts = 0
        self.carried = 0
        self.connections = 0
        self.up, self.down = threading.Event(), threading.Event()  # whether it carries towards the server, the client
        self.thaw()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            with self._lock:
                up, down = self.plan(self.connections)
                self.connections += 1
                self._open += (near, far)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._connect, near, far, up, down)

    def _connect(self, near: socket.socket, far: socket.socket, up: int | None, down: int | None) -> None:
        """Carry both ways. Nobody else closes the two: who still read from one would be given the next one's bytes."""
        back = threading.Thread(target=self._carry, args=(far, near, down, self.down), daemon=True)
        back.start()
        self._carry(near, far, up, self.up)
        back.join()
        with self._lock:
            for end in (near, far):
                if end in self._open:
                    self._open.remove(end)
                end.close()

    def _carry(self, source: socket.socket, target: socket.socket, limit: int | None, flowing: threading.Event) -> None:
        carried = 0
        send, end = (target.sendall, lambda: None) if not self.delay else self._late(target)
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                flowing.wait()
                if limit is not None and carried + len(data) >= limit:
                    send(data[: limit - carried])
                    self.cuts += 1
                    break
                send(data)
                carried += len(data)
                with self._lock:
                    self.carried += len(data)
        end()
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _late(self, target: socket.socket) -> tuple[Callable[[bytes], None], Callable[[], None]]:
        """How to send bytes that arrive later, and to wait until all have."""
        line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def deliver() -> None:
            with contextlib.suppress(OSError):
                while (due_and_data := line.get())[1]:
                    due, data = due_and_data
                    time.sleep(max(due - time.monotonic(), 0.0))  # the network's own time
                    target.sendall(data)

        thread = threading.Thread(target=deliver, daemon=True)
        thread.start()

        def end() -> None:
            line.put((0.0, b""))
            thread.join()

        return lambda data: line.put((time.monotonic() + self.delay, data)), end

    def cut(self) -> None:
        """Cut every connection. What is on its way is lost."""
        with self._lock:
            self.cuts += 1
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def freeze(self, *ways: threading.Event) -> None:
        """Carry nothing further, without a word to either end; of both ways, or of ``up`` or ``down`` alone."""
        for way in ways or (self.up, self.down):
            way.clear()

    def thaw(self) -> None:
        """Carry on."""
        self.up.set()
        self.down.set()

    def close(self) -> None:
        """End all of it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.thaw()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def make_relay() -> Iterator[Callable[..., TcpRelay]]:
    """Starts relays for one test."""
    made: list[TcpRelay] = []

    def make(target: int, *arguments: Any, **options: Any) -> TcpRelay:
        made.append(TcpRelay(target, *arguments, **options))
        return made[-1]

    yield make
    for relay in made:
        relay.close()
