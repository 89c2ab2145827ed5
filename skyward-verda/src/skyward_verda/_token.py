"""The token by which Verda is asked: fetched for the client's credentials, and anew before it runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from attrs import field, frozen

from skyward.spi import RestClient
from skyward_verda._credentials import Credentials

__all__ = ["Tokens"]

_EARLY = 60.0
"""Seconds before its end from which on a token is not used any more."""


@frozen
class _Token:
    access_token: str = field(repr=False)
    expires_in: float = 3600.0


class Tokens:
    """Gives the headers of each request. Many requests at the same time wait for one token.

    Args:
        client: asks for tokens; it authorises its questions by what they hold.
        credentials: for which they are given out.
    """

    def __init__(self, client: RestClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials
        self._token = ""
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def __call__(self) -> Mapping[str, str]:
        """The headers, with a token that lasts for a while.

        Raises:
            AuthenticationFailed: the credentials are refused.
            Transient: Verda cannot be reached.
        """
        async with self._turn:
            if self._client.waits.now() >= self._until:
                await self._fetch()
        return self._headers()

    async def renew(self) -> Mapping[str, str]:
        """Headers with another token than that which was refused just now.

        Raises:
            ProviderError: likewise.
        """
        refused = self._token
        async with self._turn:
            if refused == self._token:  # else somebody has been quicker
                self._until = 0.0
                await self._fetch()
        return self._headers()

    async def _fetch(self) -> None:
        asked = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.id,
            "client_secret": self._credentials.secret,
        }
        start = self._client.waits.now()
        token = await self._client.ask("POST", "/oauth2/token", body=asked, into=_Token)
        self._client.hide(token.access_token)
        self._token = token.access_token
        self._until = start + max(token.expires_in - _EARLY, token.expires_in / 2)

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token}"}
