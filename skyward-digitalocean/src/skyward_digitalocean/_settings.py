"""The provider's settings."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, Finding, PoolIdentity, is_text

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward_digitalocean._session import DigitalOceanSession

__all__ = ["ENDPOINT", "REGIONS", "DigitalOcean"]

type Region = Literal["nyc1", "nyc3", "sfo2", "sfo3", "ams3", "sgp1", "lon1", "fra1", "tor1"]

REGIONS: tuple[Region, ...] = ("nyc1", "nyc3", "sfo2", "sfo3", "ams3", "sgp1", "lon1", "fra1", "tor1")
"""Those that every account can use. There are others, such as atl1, with less to sell or for fewer accounts."""

ENDPOINT = "https://api.digitalocean.com"
"""Where DigitalOcean's interface is: https://docs.digitalocean.com/reference/api/."""

_REGION = r"[a-z]{3}[0-9]{1,2}"
_SLUG = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _is_image(settings: DigitalOcean, attribute: Attribute[Any], value: object) -> None:
    del settings, attribute
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is not None and not number and not (isinstance(value, str) and re.fullmatch(_SLUG, value)):
        raise ConfigurationError(
            f"image must be the slug or the number of an image, not {value!r}: write for example 'ubuntu-24-04-x64'"
        )


def endpoint_of(value: object, name: str) -> str:
    """An address of the interface, without a slash at its end.

    Raises:
        ConfigurationError: it is none, or would send the token in the clear over a network.
    """
    if isinstance(value, str):
        parts = urlsplit(value)
        host = parts.hostname or ""
        if (parts.scheme == "https" and host) or (parts.scheme == "http" and _is_near(host)):
            return value.rstrip("/")
    raise ConfigurationError(
        f"{name} must be an address that begins with https:// (or http:// on this machine or in a private network), "
        f"not {value!r}: leave it out for {ENDPOINT!r}"
    )


def _is_near(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost"


def _endpoint(value: object) -> str:
    return endpoint_of(value, "endpoint")


@frozen(kw_only=True)
class DigitalOcean:
    """Nodes are droplets of DigitalOcean, with and without GPUs, on demand.

    The token is that of ``DIGITALOCEAN_TOKEN``, else of ``DIGITALOCEAN_ACCESS_TOKEN``, as doctl has it.

    Attributes:
        region: where droplets are created, such as ``"nyc1"`` or ``"fra1"``.
        image: what droplets boot, by slug or number, with cloud-init and an SSH server that lets root in by key;
            ``None`` for Ubuntu 24.04, and for GPU droplets DigitalOcean's own images with the drivers.
        vpc: the id of the private network of the droplets; ``None`` for the region's default one.
        endpoint: where the interface is asked. ``SKYWARD_DIGITALOCEAN_ENDPOINT`` takes the place of the default.
    """

    name: ClassVar[str] = "DigitalOcean"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tags=True, user_data=True, self_termination=False, default_lease=600.0
    )

    region: Region | str = field(
        default="nyc1",
        validator=is_text(_REGION, f"the slug of a region, such as {', '.join(map(repr, REGIONS))}"),
    )
    image: str | int | None = field(default=None, validator=_is_image)
    vpc: str | None = field(default=None, validator=is_text(_UUID, "the id of a VPC, as `doctl vpcs list` tells it"))
    endpoint: str = field(default=ENDPOINT, converter=_endpoint)

    async def open(self, identity: PoolIdentity, /) -> DigitalOceanSession:
        """See that DigitalOcean knows the token. Nothing is created before the first launch.

        Raises:
            AuthenticationFailed: there is no token, or it is refused.
            Transient: DigitalOcean cannot be reached.
        """
        from skyward_digitalocean._api import client, known
        from skyward_digitalocean._session import DigitalOceanSession

        rest = client(self)
        try:
            await known(rest)
        except BaseException:
            await rest.aclose()
            raise
        return DigitalOceanSession(self, identity, rest)

    async def check(self) -> Sequence[Finding]:
        """Look at the token, the account, the region, the images and the network, for ``skyward doctor``.

        Raises:
            ProviderError: as of ``open``.
        """
        from skyward_digitalocean._api import client
        from skyward_digitalocean._doctor import examine

        rest = client(self)
        try:
            return await examine(rest, self)
        finally:
            await rest.aclose()
