"""Which slot of a node is sent a shared argument, when several of them ask for it."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Uploads"]


class Uploads[Slot: Hashable]:
    """Which slot of a node is being sent which content, and who waits for that. Pure."""

    def __init__(self) -> None:
        self._senders: dict[bytes, Slot] = {}
        self._waiting: dict[bytes, list[Slot]] = {}

    def wanted(self, slot: Slot, digest: bytes) -> bool:
        """A slot asks for a content. True if it is to be sent there now; else it is on its way, there or to another."""
        sender = self._senders.setdefault(digest, slot)
        if sender != slot:
            waiting = self._waiting[digest]
            if slot not in waiting:
                waiting.append(slot)
            return False
        if digest in self._waiting:
            return False
        self._waiting[digest] = []
        return True

    def ended(self, slot: Slot, digest: bytes) -> list[Slot]:
        """A slot has got a content whole; returns who waited, and is to look for it now."""
        if self._senders.get(digest) != slot:
            return []
        del self._senders[digest]
        return self._waiting.pop(digest)

    def gone(self, slot: Slot) -> list[tuple[Slot, bytes]]:
        """A slot is out of reach; returns who waited for what was on its way to it, and is to ask again."""
        for waiting in self._waiting.values():
            if slot in waiting:
                waiting.remove(slot)
        digests = [digest for digest, sender in self._senders.items() if sender == slot]
        return [(waiter, digest) for digest in digests for waiter in self.ended(slot, digest)]
