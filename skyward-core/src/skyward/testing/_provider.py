"""The settings of a fake cloud: what a pool is given as its provider."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from skyward.errors import UsageError
from skyward.spi.provider import Capabilities, PoolIdentity
from skyward.testing import _left
from skyward.testing._loop import running_clock

if TYPE_CHECKING:
    from skyward.testing._backend import Backend
    from skyward.testing._session import FakeSession

__all__ = ["FakeProvider"]

clouds: weakref.WeakValueDictionary[str, Backend] = weakref.WeakValueDictionary()


class FakeProvider:
    """Names a `FakeCloud`, as ``sky.AWS(...)`` names an account. It is ``FakeCloud.provider``, and is not made by hand.

    Two are equal if they name the same cloud. A copy that was pickled finds it again in the process that made it, as
    long as somebody holds on to it there.
    """

    def __init__(self, key: str, name: str, capabilities: Capabilities, backend: Backend | None = None) -> None:
        self.name = name
        self.capabilities = capabilities
        self._key = key
        if backend is not None:
            clouds[key] = backend
            _left.made(backend)
        self._backend = clouds.get(key)

    async def open(self, identity: PoolIdentity, /) -> FakeSession:
        """Open a session for one pool, as the script has it."""
        from skyward.testing._session import FakeSession

        backend = self._backend
        if backend is None:
            raise UsageError(
                f"the fake cloud {self.name!r} is not in this process, or nobody holds on to it: open the pool where "
                "the cloud was made"
            )
        virtual = running_clock()
        if virtual is not None and virtual is not backend.clock:
            raise UsageError(
                f"the fake cloud {self.name!r} and the virtual event loop have clocks of their own: make the cloud on "
                "that loop, or the loop with clock=cloud.clock"
            )
        session: FakeSession = await backend.act("open", identity, lambda: FakeSession(backend, identity))
        backend.open_sessions += 1  # only now: a call that is cancelled before it has answered leaves none open
        backend.sessions.append(session)
        return session

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeProvider) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[type[FakeProvider], tuple[str, str, Capabilities]]:
        return FakeProvider, (self._key, self.name, self.capabilities)

    def __repr__(self) -> str:
        return f"FakeProvider(name={self.name!r})"
