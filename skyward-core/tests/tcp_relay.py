"""A network that fails between a client and a server on this machine: a relay that cuts, freezes and counts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

type Plan = Callable[[int], tuple[int | None, int | None]]
"""For the n-th connection, counted from 0: after how many bytes up and down it is cut; ``None``: never."""


class TcpRelay:
    """Listens on a loopback port and carries each connection to ``target``, also a port."""

    def __init__(self, target: int, plan: Plan = lambda _: (None, None)) -> None:
        self.target = target
        self.plan = plan
        self.cuts = 0
        self.carried = 0
        self.connections = 0
        self._flowing = threading.Event()
        self._flowing.set()
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
            self._start(self._carry, near, far, up)
            self._start(self._carry, far, near, down)

    def _carry(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                if limit is not None and carried + len(data) >= limit:
                    target.sendall(data[: limit - carried])
                    self.cuts += 1
                    break
                target.sendall(data)
                carried += len(data)
                with self._lock:
                    self.carried += len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Cut every connection."""
        with self._lock:
            open_now, self._open = self._open, []
            self.cuts += 1
        for end in open_now:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def freeze(self) -> None:
        """Carry nothing further, without a word to either end."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Carry on."""
        self._flowing.set()

    def close(self) -> None:
        """End all of it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thaw()
        self.cut()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def make_relay() -> Iterator[Callable[..., TcpRelay]]:
    """Starts relays for one test."""
    made: list[TcpRelay] = []

    def make(target: int, plan: Plan = lambda _: (None, None)) -> TcpRelay:
        made.append(TcpRelay(target, plan))
        return made[-1]

    yield make
    for relay in made:
        relay.close()
