"""Which way leads to a machine: straight to its address, or through a program of its provider's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from skyward._ssh.connect import Connection, Denied, Hopeless, connect
from skyward._ssh.hostkeys import HostKeys
from skyward.errors import AuthenticationFailed, ProviderError
from skyward.model.ssh import SshAddress, SshProxy

__all__ = ["Ways"]


class Ways:
    """Connects to one machine, by the way that is its own or that led there last.

    Args:
        address: where its SSH server is.
        proxy: asks for the program that leads there, anew for each connection; ``None`` where there is none.
        after: seconds for which one way may fail before both are tried in turn, beginning with the straight one; 0 for
            the program alone.
    """

    def __init__(
        self, address: SshAddress, proxy: Callable[[], Awaitable[SshProxy]] | None = None, after: float = 0.0
    ) -> None:
        self._address = address
        self._keys = HostKeys(address)
        self._proxy = proxy
        self._after = after
        self._aside = proxy is not None and after <= 0
        self._failing: float | None = None
        self._why: dict[bool, str] = {}

    async def connect(self) -> Connection:
        """Try one way.

        Raises:
            ConnectionError: it leads nowhere now; ``Denied`` when the machine does not let this client in.
            Hopeless: another attempt would meet the same.
        """
        aside = self._aside
        try:
            connection = await connect(self._address, self._keys, await self._program() if aside else None)
        except Denied:
            raise
        except ConnectionError as error:
            raise self._failed(error, aside=aside) from error
        self._failing, self._why = None, {}
        return connection

    async def _program(self) -> SshProxy:
        assert self._proxy is not None
        try:
            return await self._proxy()
        except AuthenticationFailed as error:
            if self._after > 0:  # it was worth an attempt; the straight way may still open
                raise ConnectionError(str(error)) from error
            raise Hopeless(str(error)) from error
        except ProviderError as error:
            raise ConnectionError(str(error)) from error

    def _failed(self, error: ConnectionError, *, aside: bool) -> ConnectionError:
        """Choose the way of the next attempt, and say why those so far have failed."""
        if self._proxy is None or self._after <= 0:
            return error
        now = asyncio.get_running_loop().time()
        self._failing = now if self._failing is None else self._failing
        self._why[aside] = str(error)
        if now - self._failing >= self._after:
            self._aside = not aside
        return ConnectionError("; nor is there a way aside: ".join(self._why[way] for way in sorted(self._why)))
