"""The network that the containers of a pool share, and those that dead clients left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence

from skyward import Transient, Unavailable
from skyward.spi import PoolIdentity, client_lives
from skyward_container import _node
from skyward_container._engine import Engine

__all__ = ["Networks"]

_log = logging.getLogger("skyward.container")


class Networks:
    """Makes the pool's network with its first container, and removes it after its last."""

    def __init__(self, engine: Engine, identity: PoolIdentity) -> None:
        self._engine = engine
        self._identity = identity
        self._name = _node.network_of(identity.pool_id)
        self._made = False
        self._doubtful = False  # it was ordered, and its caller did not wait for the answer
        self._turn = asyncio.Lock()
        self._users = 0  # launches that are on their way

    @contextlib.asynccontextmanager
    async def needed(self) -> AsyncGenerator[None]:
        """Keep the network while the block lasts."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    async def make(self) -> None:
        """Make the network, unless it is there.

        Raises:
            Unavailable: the engine refuses.
            Transient: it does not answer.
        """
        async with self._turn:
            if self._made:
                return
            await self._tidy()
            labels = [
                word for key, value in _node.labels(self._identity).items() for word in ("--label", f"{key}={value}")
            ]
            self._doubtful = True
            answer = await self._engine.ask("network", "create", *labels, self._name, whole=True)
            self._doubtful = False
            if answer.status and not await self._engine.inspect("network", [self._name]):
                raise Unavailable(f"`{self._engine.name} network create` failed: {answer.words}")
            self._made = True

    async def remove(self) -> None:
        """Remove the network if it was made, or may have been, and nothing is in it."""
        await self.remove_of([f"{self._name}-0-0"] if self._made or self._doubtful else [])

    async def remove_of(self, names: Sequence[str]) -> None:
        """Remove the networks of containers, unless others are in them: an engine refuses that by itself."""
        async with self._turn:
            networks = dict.fromkeys(name.rsplit("-", 2)[0] for name in names)
            for network in networks:
                if not network.startswith("skyward-") or (network == self._name and self._users):
                    continue
                made, self._made = self._made, self._made and network != self._name  # it may go though this is cut off
                with contextlib.suppress(Transient):
                    answer = await self._engine.ask("network", "rm", network, whole=True)
                    self._made = made and (network != self._name or bool(answer.status))
            if set(networks) - {self._name}:  # this session ends what others left behind
                await self._tidy()

    async def _tidy(self) -> None:
        """Remove what clients left behind that are known to be dead: containers end themselves, networks do not."""
        with contextlib.suppress(Transient):
            told = await self._engine.get("network", "ls", "--filter", f"label={_node.POOL}", "--format", "{{.Name}}")
            for found in await self._engine.inspect("network", told.split()):
                marks = found.get("Labels") or found.get("labels") or {}
                name = found.get("Name") or found.get("name")
                if name and marks.get(_node.CLIENT) and client_lives(marks[_node.CLIENT]) is False:
                    _log.info("removing the network %s of a client that has died", name)
                    await self._engine.ask("network", "rm", str(name), whole=True)
