"""Who asks: the headers that authorise a request, and that no message, log or ``repr`` may show."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol, runtime_checkable

from attrs import field, frozen

from skyward.errors import AuthenticationFailed

__all__ = ["Authorize", "Renewable", "bearer", "checked"]


class Authorize(Protocol):
    """Gives the headers of each request. It is asked before each, so it may fetch a token, and keeps it itself."""

    def __call__(self) -> Awaitable[Mapping[str, str]]:
        """The headers.

        Raises:
            ProviderError: there are none.
        """
        ...


@runtime_checkable
class Renewable(Protocol):
    """An `Authorize` whose headers can run out before it knows: after a 401 it is asked once for new ones."""

    def renew(self) -> Awaitable[Mapping[str, str]]:
        """Headers other than those of before.

        Raises:
            ProviderError: there are none.
        """
        ...


@frozen
class _Bearer:
    token: str = field(repr=False)

    async def __call__(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def bearer(token: str) -> Authorize:
    """The `Authorize` of a token that stays the same: ``Authorization: Bearer ...``.

    Its ``repr`` does not show the token.
    """
    return _Bearer(token.strip())


def checked(headers: Mapping[str, str], vendor: str, remedy: str) -> dict[str, str]:
    """The headers, if they can be sent; what httpx says of those that cannot would show them.

    Raises:
        AuthenticationFailed: one has a character that no header may have.
    """
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable() or not value.strip():
            raise AuthenticationFailed(
                f"the credentials for {vendor} cannot be sent: the header {name} would be empty or have characters "
                "other than printable ASCII ones" + (f"; {remedy}" if remedy else "")
            )
    return dict(headers)
