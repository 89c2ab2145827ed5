"""The functions that run together: who else is in the group of the running one, and this one's port.

Before such functions are sent, each slot opens a port for the one that it will run and tells the client its number.
With the function comes the list of all. The port is held until the function takes it over, or ends.
"""

from __future__ import annotations

import errno
import secrets
import socket
from typing import NamedTuple

__all__ = ["Group", "Meeting", "Member", "current_group", "rank_in_group"]

_BACKLOG = 1024
"""Connections that may wait for a function which takes its port over late; Linux allows 4096 by default."""


class Member(NamedTuple):
    """One of the functions that run together.

    Attributes:
        node: the node's index.
        worker: the slot's index on its node.
        address: where the other members reach it: the node's private address, or the loopback of a machine that all
            members share.
        port: a TCP port at that address that is its own for the call.
    """

    node: int
    worker: int
    address: str
    port: int


class Group:
    """The copies of a function that run together: one in every slot of the pool, or this one alone.

    Attributes:
        call: a name of this call, the same for all members, and fresh for each call and for each time that one is
            tried again.
        rank: this member's place among them, from 0. Ranks go through the slots of node 0, then of node 1, and so on.
        members: all of them, by rank.
    """

    __slots__ = ("_listener", "call", "members", "rank")

    def __init__(self, call: str, rank: int, members: tuple[Member, ...], listener: socket.socket | None) -> None:
        self.call = call
        self.rank = rank
        self.members = members
        self._listener = listener

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.members)

    @property
    def head(self) -> Member:
        """The member of rank 0, where the others may meet."""
        return self.members[0]

    @property
    def local_rank(self) -> int:
        """This member's place among those of its node, from 0."""
        here = self.members[self.rank].node
        return sum(member.node == here for member in self.members[: self.rank])

    @property
    def local_size(self) -> int:
        """Number of members on this node."""
        here = self.members[self.rank].node
        return sum(member.node == here for member in self.members)

    def listener(self) -> socket.socket:
        """The socket of this member's port: bound, listening, and nobody has accepted a connection of it.

        Hand it over by ``listener().detach()``, which gives the descriptor to whoever closes it from then on, or close
        it right before something binds the port itself. Left alone, it is closed when the function has ended.

        Raises:
            RuntimeError: this is a group of another time, whose function has ended; or somebody has it already.
        """
        if self._listener is None:
            raise RuntimeError(f"the call {self.call} has ended, and its port was given back: ask in the function")
        if self._listener.fileno() < 0:
            raise RuntimeError(
                "the port of this call was taken over before: of integrations that form a group, such as torch, jax "
                "and tensorflow, apply one to a function, and give its pool no other one in plugins=[...]"
            )
        return self._listener

    def reached(self, port: int | None = None, seconds: float = 30.0) -> socket.socket:
        """A connection to the head, which the caller closes: what cannot be reached is found before a framework waits.

        Args:
            port: of the head's machine; by default the head's own for the call, which is open before the functions
                begin. Whoever has taken that over accepts this connection too.
            seconds: how long to wait for an answer.

        Raises:
            ConnectionError: the head does not answer, or refuses; the text says who did not reach whom, and where.
        """
        here, head = self.members[self.rank], self.head
        port = head.port if port is None else port
        try:
            return socket.create_connection((head.address, port), timeout=seconds)
        except OSError as error:
            raise ConnectionError(
                f"rank {self.rank} (node {here.node}) cannot reach rank 0 (node {head.node}) at {head.address}:{port}: "
                f"{error}; the nodes must reach each other at all ports of their private addresses, which firewalls "
                "between them must let pass"
            ) from error

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size} in the group of call {self.call}>"


_current: Group | None = None


def current_group() -> Group | None:
    """The group of the running function; ``None`` where it runs by itself.

    By itself runs a function that was not made with ``together=True``, and anything in a process that is no slot.
    """
    return _current


def rank_in_group() -> tuple[int, int] | None:
    """The rank of the running function and the size of its group; ``None`` where it runs by itself."""
    return None if _current is None else (_current.rank, len(_current.members))


class Meeting:
    """A slot's side: opens the port of the next function, and makes its group when it begins.

    Args:
        node: the slot's node.
        worker: the slot's index there.
    """

    def __init__(self, node: int, worker: int) -> None:
        self._place = (node, worker)
        self._call = ""
        self._listener: socket.socket | None = None
        self._next: tuple[int, str, int, tuple[tuple[int, int, str, int], ...], str] | None = None

    def asked(self, sequence: int, call: str, address: str) -> tuple[int, int, str]:
        """The answer to the client: for which task, the port, and why there is none."""
        try:
            return sequence, self.port(call, address), ""
        except OSError as error:
            return sequence, 0, str(error)

    def port(self, call: str, address: str) -> int:
        """Open the port for a call; asked again for the same call, it gives the same.

        Raises:
            OSError: this machine has none.
        """
        if call != self._call or self._listener is None:
            self._close()
            self._listener = _bound(address)
            self._call = call
        return int(self._listener.getsockname()[1])

    def part(self, call: str) -> None:
        """A call will not run here, for now or at all: give its port back."""
        if call == self._call and _current is None:
            self._close()

    def announce(
        self, sequence: int, call: str, rank: int, members: tuple[tuple[int, int, str, int], ...], address: str
    ) -> None:
        """The task of this sequence is to run in a group. Without members it is alone, at ``address``."""
        self._next = (sequence, call, rank, members, address)

    def begin(self, sequence: int) -> None:
        """A task begins: make the group that it runs in, if it does.

        Raises:
            OSError: it is alone, and this machine has no port for it.
        """
        global _current
        if self._next is None or self._next[0] != sequence:
            self._close()  # of a call that came to nothing
            return
        _, call, rank, members, address = self._next
        self._next = None
        if not members:
            call = secrets.token_hex(8)
            members = ((*self._place, address, self.port(call, address)),)
        _current = Group(call, rank, tuple(Member(*member) for member in members), self._listener)

    def end(self) -> None:
        """The task has ended: its group is no more, and its port is given back."""
        global _current
        if _current is not None:
            _current._listener = None
            _current = None
            self._close()

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener, self._call = None, ""


def _bound(address: str) -> socket.socket:
    """A listening socket at a free port of an address, or of all addresses where this one is not the machine's own.

    The address is private: a pool has no groups over others. What translates it lets nobody else in.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 -- the node's address is translated
    for host in (address, everywhere):
        listener = socket.socket(family)
        try:
            listener.bind((host, 0))
            # So that the port can be bound again at once, in spite of connections that linger. Only now: before, the
            # kernel might have chosen a port that another one of us has bound and does not listen at yet.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if host == everywhere or error.errno != errno.EADDRNOTAVAIL:
                raise
        else:
            return listener
    raise AssertionError("unreachable")
