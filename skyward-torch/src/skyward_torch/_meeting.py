"""What the ranks of a group tell each other beside their process group, through a store of torch's."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from skyward.spi import Group
from skyward_torch._devices import Place

__all__ = ["Meeting"]

_log = logging.getLogger("skyward.torch")

_MEETING = 300.0
"""Seconds that ranks wait for each other at the beginning; torch's own limit for that."""
_PARTING = 5.0
"""Seconds that the rank with the store waits for the others to let go of it."""
_LATE = 10.0
"""Seconds after which a rank that is through says for whom it waits."""
_PAUSE = 0.05
"""Seconds between two looks into the store at most. torch's own waiting cannot be interrupted, and says something on
standard error each time that it comes to its limit."""
_SHARE = 0.05
"""Of the time that was waited so far: the next pause."""
_TOLD = 8
"""Ranks that a line names one by one."""


class Meeting:
    """A group's store, at a port that is this call's own.

    The store is the first rank's, and listens at the socket that was opened for the call.

    Args:
        dist: ``torch.distributed``.
        group: the running function's.
        name: the function's, for what is said of it.

    Attributes:
        group: as given.

    Raises:
        ConnectionError: the first rank cannot be reached.
    """

    def __init__(self, dist: Any, group: Group, name: str = "the function") -> None:
        self._dist = dist
        self.group = group
        self._name = name
        if group.rank == 0:
            self._store = self._served()
        else:
            group.reached().close()  # torch would try for minutes, and not say what is in the way
            self._store = self._tcp()

    def _served(self) -> Any:
        """The first rank's store, at the socket of the call."""
        listener = self.group.listener()
        descriptor = os.dup(listener.fileno())  # the store's to close from now on, unless it could not be made
        try:
            try:
                return self._tcp(master_listen_fd=descriptor)
            except NotImplementedError:  # up to torch 2.5 only the older server takes a socket
                return self._tcp(master_listen_fd=descriptor, use_libuv=False)
        except BaseException:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # whoever has the descriptor: nobody answers there any more
            raise
        finally:
            listener.close()

    def _tcp(self, **settings: Any) -> Any:
        head = self.group.head
        limit = timedelta(seconds=_MEETING)
        first = self.group.rank == 0
        return self._dist.TCPStore(
            head.address, head.port, self.group.size, first, timeout=limit, wait_for_workers=False, **settings
        )

    def store(self, prefix: str) -> Any:
        """A part of the store for somebody else's use."""
        return self._dist.PrefixStore(prefix, self._store)

    def told_by_all(self, place: Place) -> list[Place]:
        """Tell this rank's place; those of all ranks, in their order.

        Raises:
            TimeoutError: one did not come.
        """
        self._store.set(f"place/{self.group.rank}", place.packed())
        places = []
        for rank in range(self.group.size):
            if not self._wait(f"place/{rank}", _MEETING):
                raise TimeoutError(
                    f"rank {rank} (node {self.group.members[rank].node}) has not come within {_MEETING:g} s: "
                    "see whether it could import torch, and reach the others"
                )
            places.append(Place.unpacked(self._store.get(f"place/{rank}")))
        return places

    def all_are_through(self) -> None:
        """Return when every rank has ended its function: until then others may need this one's connections."""
        self._store.set(f"through/{self.group.rank}", "")
        if self._store.add("through", 1) == self.group.size:
            self._store.set("all through", "")
        if not self._wait("all through", _LATE):
            self._tell_of_the_late()
            self._wait("all through", None)

    def _tell_of_the_late(self) -> None:
        """Say who is awaited, once for all ranks: they may be in an operation for which this one is missing."""
        if self._store.add("told", 1) > 1:
            return
        late = [rank for rank in range(self.group.size) if not self._store.check([f"through/{rank}"])]
        if late:
            more = f" and {len(late) - _TOLD} more" if len(late) > _TOLD else ""
            _log.warning(
                "rank %s has returned from %s and waits for rank%s %s, still at work; if they wait for an operation "
                "of all ranks, have all ranks make equally many steps",
                self.group.rank,
                self._name,
                "s" if len(late) > 1 else "",
                ", ".join(map(str, late[:_TOLD])) + more,
            )

    def part(self) -> None:
        """Let go of the store; the first rank, which has it, when the others have."""
        if self._store.add("parted", 1) == self.group.size:
            self._store.set("all parted", "")
        if self.group.rank == 0:
            self._wait("all parted", _PARTING)

    def close(self) -> None:
        """Have no store any more: an exception may keep this object for a while."""
        self._store = None

    def _wait(self, key: str, seconds: float | None) -> bool:
        """Wait for a key, so that a cancellation is heard; False when it has not come in time."""
        begun = time.monotonic()
        while not self._store.check([key]):
            waited = time.monotonic() - begun
            if seconds is not None and waited > seconds:
                return False
            time.sleep(min(_PAUSE, _SHARE * waited))
        return True
