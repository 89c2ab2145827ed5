"""The provider's settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, Finding, PoolIdentity, is_number, is_text

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward_verda._session import VerdaSession

__all__ = ["ENDPOINT", "Verda"]

ENDPOINT = "https://api.verda.com/v1"
_LEAST, _LARGEST = 50, 10_000
"""GiB of a volume for an operating system: the vendor's images take up to 50, by its own default for new machines."""


def _endpoint() -> str:
    return os.environ.get("SKYWARD_VERDA_ENDPOINT") or ENDPOINT


def _is_endpoint(settings: Verda, attribute: Attribute[Any], value: object) -> None:
    del settings
    said = f"{attribute.name} must be the address of Verda's API, not {value!r}: write for example {ENDPOINT!r}"
    try:
        url = urlsplit(value) if isinstance(value, str) else None
        good = url is not None and url.scheme in ("http", "https") and bool(url.hostname) and not url.query
        named = url is not None and bool(url.username or url.password)
    except ValueError:
        raise ConfigurationError(said) from None
    if named:  # it may be a secret, so it is not shown
        raise ConfigurationError(f"{attribute.name} holds credentials: set VERDA_CLIENT_ID and VERDA_CLIENT_SECRET")
    if not good:
        raise ConfigurationError(said)


@frozen(kw_only=True)
class Verda:
    """Nodes are instances of Verda, on demand and on spot.

    Credentials are those of ``VERDA_CLIENT_ID`` and ``VERDA_CLIENT_SECRET``, else of a profile of
    ``~/.verda/credentials``, where Verda's own command line keeps them.

    Attributes:
        region: the location where machines are bought, such as ``"FIN-03"``; ``None`` for any that has what is asked
            for, the cheapest first.
        image: what machines boot, by Verda's name of it, such as ``"ubuntu-24.04"``; ``None`` for the newest Ubuntu of
            Verda's that the machine can boot, with CUDA where it has a GPU.
        disk_gb: size of the volume with the operating system, in GiB. It is deleted with its machine, for good.
        profile: the profile of ``~/.verda/credentials``, which then goes before the variables; ``None`` for that of
            ``VERDA_PROFILE``, or ``default``, where the variables are not set.
        endpoint: the address of the API; that of ``SKYWARD_VERDA_ENDPOINT`` by default, else Verda's own.
    """

    name: ClassVar[str] = "Verda"
    capabilities: ClassVar[Capabilities] = Capabilities(
        spot=True,
        private_network=False,
        default_lease=600.0,
        tags=True,
        user_data=True,
        self_termination=False,
    )

    region: str | None = field(
        default=None, validator=is_text(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", "the name of a location", "FIN-03")
    )
    image: str | None = field(
        default=None, validator=is_text(r"[A-Za-z0-9][\w.-]*", "the name of an image", "ubuntu-24.04")
    )
    disk_gb: int = field(default=64, validator=is_number("a number of GiB", _LEAST, _LARGEST, whole=True))
    profile: str | None = field(default=None, validator=is_text(r"\S(.*\S)?", "the name of a profile", "default"))
    endpoint: str = field(factory=_endpoint, validator=_is_endpoint)

    async def open(self, identity: PoolIdentity, /) -> VerdaSession:
        """See that Verda knows the credentials. Nothing is created before the first launch.

        Raises:
            AuthenticationFailed: there are no credentials, or they are refused.
            Unavailable: there is no such location.
            Transient: Verda cannot be reached.
        """
        from skyward_verda._session import VerdaSession

        return await VerdaSession.open(self, identity)

    async def check(self) -> Sequence[Finding]:
        """Look at credentials, balance, location, and what is to be had now, for ``skyward doctor``.

        Raises:
            ProviderError: as of ``open``.
        """
        from skyward_verda._doctor import examine

        return await examine(self)
