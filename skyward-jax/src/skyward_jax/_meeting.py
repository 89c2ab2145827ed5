"""How the processes of a group find the coordinator of ``jax.distributed``, and learn when all are through.

jax's own ways to do either end the process, by ``abort()``, when another one is gone or late. Here it is told as an
error: each process has a connection to the first one as long as it takes part. Nothing but a few bytes goes over it.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Self

from skyward.spi import Group
from skyward_jax._judging import Parted

__all__ = ["Meeting", "written"]

_log = logging.getLogger("skyward.jax")

_HELLO = 2.0
"""Seconds that whoever has begun to say who it is has for the rest, which a process of the group says in one piece."""
_LATE = 10.0
"""Seconds after which a process that is through says for whom it waits."""
_TOLD = 8
"""Ranks that a line names one by one."""
_DONE = b"+"
_DIGITS = 6
"""Of a port as it is sent."""


class Meeting:
    """One process's connections to the others: the first one has one to each, and they have one to it.

    As a context manager, it closes them.

    Attributes:
        port: of the coordinator.
        address: at which the first process's coordinator listens there.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._links: dict[int, socket.socket] = {}
        self._held: socket.socket | None = None
        self.address = group.head.address
        try:
            self.port = self._invite() if group.rank == 0 else self._join()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _invite(self) -> int:
        group = self._group
        with group.listener() as listener, closing(_greetings(listener, f"{group.call}/")) as those_who_come:
            self.address = listener.getsockname()[0]  # of this machine, even where a router translates the group's
            while len(self._links) < group.size - 1:
                rank, link = next(those_who_come)
                self._links[rank] = link
        self._held = _reserved(self.address)
        return int(self._held.getsockname()[1])

    def _join(self) -> int:
        group = self._group
        link = self._reached()
        link.settimeout(None)
        self._links[0] = link
        line = f"{group.call}/{group.rank}".encode()
        link.sendall(bytes([len(line)]) + line)
        port = int(self._read(0, _DIGITS))
        self._reached(port).close()  # jax would try for minutes, and then abort
        return port

    def _reached(self, port: int | None = None) -> socket.socket:
        try:
            return self._group.reached(port)
        except ConnectionError as error:
            if isinstance(error.__cause__, ConnectionRefusedError):  # as where the first process has failed meanwhile
                raise Parted(str(error)) from error
            raise

    def announce(self) -> None:
        """Tell the others the coordinator's port, which listens now; the first process does, others need not."""
        if self._held is not None:
            self._held.close()
            self._held = None
            self._tell(f"{self.port:{_DIGITS}d}".encode())

    def through(self) -> None:
        """Return when the functions of all processes have ended: until then they may need each other.

        Raises:
            Parted: one has gone before.
        """
        if self._group.rank != 0:
            self._tell(_DONE)
        until = time.monotonic() + _LATE
        late = [rank for rank in sorted(self._links) if not self._has_told(rank, until)]
        if late:
            self._tell_of_the_late(late)
        for rank in late:
            self._read(rank, 1)
        if self._group.rank == 0:
            self._tell(_DONE)

    def _has_told(self, rank: int, until: float) -> bool:
        """Whether a process is through before that time, or has seen that all are."""
        link = self._links[rank]
        link.settimeout(max(until - time.monotonic(), 0.01))
        try:
            self._read(rank, 1)
        except TimeoutError:
            return False
        finally:
            link.settimeout(None)
        return True

    def _tell_of_the_late(self, late: list[int]) -> None:
        """Say who is awaited: they may be in a computation for which this process is missing."""
        if self._group.rank == 0:
            more = f" and {len(late) - _TOLD} more" if len(late) > _TOLD else ""
            whom = f"rank{'s' if len(late) > 1 else ''} {', '.join(map(str, late[:_TOLD]))}{more}"
        else:
            whom = "others"
        _log.warning(
            "rank %s has returned from its function and waits for %s, still at work; if they wait for a computation of "
            "all devices, have all ranks make equally many steps",
            self._group.rank,
            whom,
        )

    def part(self) -> None:
        """Say that this process uses the coordinator no more; the first one waits until all have."""
        if self._group.rank == 0:
            for link in self._links.values():
                with suppress(OSError):
                    link.recv(1)
        self.close()

    def close(self) -> None:
        """Close the connections, which tells the others that this process is gone."""
        for each in (*self._links.values(), self._held):
            if each is not None:
                each.close()
        self._links.clear()
        self._held = None

    def _tell(self, message: bytes) -> None:
        for rank, link in self._links.items():
            try:
                link.sendall(message)
            except OSError as error:
                raise self._gone(rank) from error

    def _read(self, rank: int, size: int) -> bytes:
        try:
            message = _exactly(self._links[rank], size)
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone(rank) from error
        if len(message) < size:
            raise self._gone(rank)
        return message

    def _gone(self, rank: int) -> Parted:
        return Parted(f"rank {rank} (node {self._group.members[rank].node}) ended before rank {self._group.rank} did")


def written(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def _greetings(listener: socket.socket, expected: str) -> Generator[tuple[int, socket.socket]]:
    """Who connects and says that it is of the call, by rank. Strangers hold nobody up, also those who say nothing."""
    unknown: set[socket.socket] = set()
    with selectors.DefaultSelector() as heard:
        heard.register(listener, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in heard.select():
                    if key.data is None:
                        link = listener.accept()[0]
                        heard.register(link, selectors.EVENT_READ, link)
                        unknown.add(link)
                        continue
                    link = key.data
                    heard.unregister(link)
                    unknown.discard(link)
                    rank = _hello(link, expected)
                    if rank is None:
                        link.close()
                    else:
                        yield rank, link
        finally:
            for link in unknown:
                link.close()


def _hello(link: socket.socket, expected: str) -> int | None:
    """The rank of who has connected; ``None`` for one who is not of this call."""
    link.settimeout(_HELLO)
    try:
        size = _exactly(link, 1)
        line = _exactly(link, size[0]).decode("ascii", "replace") if size else ""
    except OSError:
        return None
    link.settimeout(None)
    rank = line.removeprefix(expected)
    return int(rank) if line.startswith(expected) and rank.isdecimal() else None


def _exactly(link: socket.socket, size: int) -> bytes:
    """That many bytes; fewer where the other side has closed."""
    found = b""
    while len(found) < size and (chunk := link.recv(size - len(found))):
        found += chunk
    return found


def _reserved(address: str) -> socket.socket:
    """A free port that nothing else of this machine is given while the socket is open.

    It does not listen, and shares its port with whoever asks to share it, as gRPC's servers do on Linux.
    """
    held = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if hasattr(socket, "SO_REUSEPORT"):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((address, 0))
    except BaseException:
        held.close()
        raise
    return held
