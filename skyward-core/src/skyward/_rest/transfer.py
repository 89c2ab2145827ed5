"""One request and its answer, or the reason why there is none. Nothing here is repeated."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from skyward._rest.answer import Answer, Question, Silence
from skyward.errors import ConfigurationError, ProviderError

__all__ = ["Explain", "Transfer", "address"]

type Explain = Callable[[Answer], ProviderError | None]
"""A vendor's own reading of an answer, also of one that calls itself a success: the error that it means; ``None`` for
none, or where the usual reading holds."""

_CONNECT = 10.0
"""Seconds until a connection stands."""
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


def address(endpoint: str, vendor: str) -> str:
    """An endpoint without its last slash.

    Raises:
        ConfigurationError: it is no address, holds credentials, or would have credentials sent in the clear to
            somebody far away.
    """
    try:
        parts = urlsplit(endpoint)
        parts.port  # noqa: B018  raises for what is no number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"the endpoint of {vendor} is no address of an API: write https://host/path")
    if "@" in parts.netloc:
        raise ConfigurationError(f"the endpoint of {vendor} holds credentials: leave them out of the address")
    if parts.scheme == "http" and not _near(parts.hostname):
        raise ConfigurationError(
            f"the endpoint of {vendor} would be sent its credentials in the clear: write https://{parts.netloc}"
        )
    return endpoint.rstrip("/")


def _near(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost"


class Transfer:
    """The connections to one address, on whatever event loop it is asked on.

    Args:
        endpoint: the address.
        timeout: seconds that a request may take, from being let out to the last byte of its answer.
    """

    def __init__(self, endpoint: str, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def exchange(self, question: Question, headers: Mapping[str, str]) -> Answer | Silence:
        """Send a question once."""
        if self._closed:
            return Silence(sent=False, why="its session is closed", passing=False)
        client = self._opened()
        content = None if question.body is None else json.dumps(question.body, allow_nan=False).encode()
        params: dict[str, Any] = {name: value for name, value in question.params.items() if value is not None}
        kind = {} if content is None else {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self._timeout):
                response = await client.request(
                    question.method,
                    self._endpoint + question.path,
                    params=params or None,
                    content=content,
                    headers={**kind, **headers},
                )
        except _UNSENT as error:
            return Silence(sent=False, why=_why(error), passing=not _untrusted(error))
        except TimeoutError:
            return Silence(sent=True, why=f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.StreamError) as error:
            return Silence(sent=True, why=_why(error))
        except RuntimeError as error:  # httpx's word for a client that was closed meanwhile
            return self._closed_meanwhile(error)
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=_body(response),
            method=question.method,
            path=question.path,
        )

    def _closed_meanwhile(self, error: RuntimeError) -> Silence:
        if not self._closed:
            raise error
        return Silence(sent=True, why=_why(error), passing=False)

    def _opened(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            # What has not been sent by then is known not to have been, before the whole runs out of time.
            early = self._timeout / 4
            self._loop = loop
            self._client = httpx.AsyncClient(
                verify=_trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
                timeout=httpx.Timeout(self._timeout, connect=min(_CONNECT, early), pool=early),
                limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
                headers={"Accept": "application/json", "User-Agent": "skyward"},
                follow_redirects=False,
            )
        return self._client

    async def close(self) -> None:
        """Close the connections. Nothing can be asked any more."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()


@functools.lru_cache(maxsize=4)
def _trust(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Whose certificates count: made once, since that takes long. The variables say what httpx reads itself."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"the certificates that SSL_CERT_FILE={file or ''} or SSL_CERT_DIR={folder or ''} names cannot be read "
            f"({error.strerror or error}): name a file of certificates, or unset it"
        ) from error


def _body(response: httpx.Response) -> object:
    if not response.content:
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return response.text


def _why(error: Exception) -> str:
    """What went wrong, without the request, which has the credentials."""
    name = "".join(f" {each.lower()}" if each.isupper() else each for each in type(error).__name__).strip()
    said = str(error).strip()
    told = f"{name}: {said}" if said else name
    hint = "; name the certificates to trust in SSL_CERT_FILE" if _untrusted(error) else ""
    return told + hint


def _untrusted(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
