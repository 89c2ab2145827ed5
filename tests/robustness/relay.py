"""A network that fails: a relay between the client and the sockets of local nodes, which cuts at chosen bytes."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from typing import Any

from attrs import field, frozen

import skyward as sky
from skyward._local import LocalSession
from skyward._local_transport import LocalTransport


class Relay:
    """Carries bytes between the two ends of each connection, and cuts some of them.

    ``plan(name)`` says, for each new connection, after how many bytes towards the node and towards the client it is
    to be cut (``None``: never). What had been taken from one end then is lost to the other.
    """

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.cuts = 0
        self.opened: dict[str, list[socket.socket]] = {}
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def between(self, name: str, node: socket.socket) -> socket.socket:
        """Put the relay before a connection to a node; returns what the client is to use in its place."""
        client, near = socket.socketpair()
        up, down = self.plan(name)
        with self._lock:
            self.opened.setdefault(name, []).append(near)
            self._ends += (near, node)
        ends = (near, node)
        pair = [
            threading.Thread(target=self._carry, args=(near, node, up, ends), daemon=True),
            threading.Thread(target=self._carry, args=(node, near, down, ends), daemon=True),
        ]
        self._threads += pair
        for thread in pair:
            thread.start()
        return client

    def cut(self, name: str) -> None:
        """Cut the present connection to a socket."""
        with self._lock:
            near = self.opened[name][-1]
            self.cuts += 1
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)

    def _carry(self, source: socket.socket, target: socket.socket, limit: int | None, ends: Any) -> None:
        carried = 0
        try:
            while data := source.recv(1 << 16):
                if limit is not None and carried + len(data) >= limit:
                    target.sendall(data[: limit - carried])
                    with self._lock:
                        self.cuts += 1
                    break
                target.sendall(data)
                carried += len(data)
        except OSError:
            pass
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End every connection and thread."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for end in self._ends:
            end.close()


class _Transport(LocalTransport):
    def __init__(self, relay: Relay, inner: LocalTransport) -> None:
        self.__dict__.update(inner.__dict__)
        self._relay = relay

    def _connect(self, name: str) -> socket.socket:
        return self._relay.between(name, super()._connect(name))


class _Session(LocalSession):
    relay: Relay

    def transport(self, instance: Any, wire: Any, /) -> LocalTransport:
        return _Transport(self.relay, super().transport(instance, wire))


@frozen
class Failing(sky.Local):
    """Local nodes behind a relay."""

    relay: Relay = field(eq=False)

    async def open(self, identity: Any, /) -> LocalSession:
        session = _Session(identity)
        session.relay = self.relay
        return session


def cutting(seed: int, sizes: tuple[int, ...], cuts: int) -> Any:
    """A plan that cuts the first connections to each slot after a random number of bytes, of one of some magnitudes."""
    source = random.Random(seed)
    left: dict[str, int] = {}

    def plan(name: str) -> tuple[int | None, int | None]:
        if not name.startswith("slot-") or left.setdefault(name, cuts) <= 0:
            return None, None
        left[name] -= 1
        after = source.randint(100, source.choice(sizes))  # the greetings are through before
        return (after, None) if source.random() < 0.5 else (None, after)

    return plan
