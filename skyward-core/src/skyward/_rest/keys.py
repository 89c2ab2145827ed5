"""The keys of a pool: its client's, and those that its machines are given. They are in memory and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from skyward.model.ssh import KeyPair

__all__ = ["Keys"]


class Keys:
    """Keys that are made when they are needed.

    Args:
        pool_id: whose they are; their comments say so.
        hide: is told each private half, so that no message shows it.
    """

    def __init__(self, pool_id: str, hide: Callable[[str], None]) -> None:
        self.client: KeyPair | None = None
        self.hosts: dict[str, str] = {}
        """By the machine's id, the public half of the key that it was given."""
        self._pool_id = pool_id
        self._hide = hide

    async def of_client(self) -> KeyPair:
        """The client's, one for the pool."""
        if self.client is None:
            made = await self._new(f"skyward {self._pool_id}")
            if self.client is None:  # still
                self.client = made
        return self.client

    async def of_host(self, node: int) -> KeyPair:
        """A new one for a machine."""
        return await self._new(f"node {node} of {self._pool_id}")

    async def _new(self, comment: str) -> KeyPair:
        from skyward._ssh import new_key_pair

        made = await asyncio.to_thread(new_key_pair, comment)
        self._hide(made.private)
        return made
