"""The settings that users write: ``sky.Acme(region="tranquility-1")``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

import skyward as sky
from skyward.spi import Capabilities, PoolIdentity

if TYPE_CHECKING:
    from skyward_acme.session import AcmeSession

REMEDY = "set ACME_TOKEN to a token of https://acme.example/tokens"


@frozen(kw_only=True)
class Acme:
    """Machines on the moon, in a region. ``endpoint`` is the address of Acme's API."""

    region: str = "tranquility-1"
    endpoint: str = field(factory=lambda: os.environ.get("SKYWARD_ACME_ENDPOINT") or "https://api.acme.example")

    name: ClassVar[str] = "Acme"
    capabilities: ClassVar[Capabilities] = Capabilities(spot=True, private_network=False, user_data=True, ports=True)

    async def open(self, identity: PoolIdentity, /) -> AcmeSession:
        """Open a session for one pool; nothing is created. Without a token that Acme knows: `AuthenticationFailed`."""
        from skyward.spi import Pace, RestClient, bearer
        from skyward_acme.session import AcmeSession, explain  # only now: it loads the client for HTTP

        if not (token := os.environ.get("ACME_TOKEN")):
            raise sky.AuthenticationFailed(f"Acme asks for a token: {REMEDY}")
        paces = [Pace("*", "*", times=600, seconds=60)]  # the limit that Acme publishes
        rest = RestClient("Acme", self.endpoint, authorize=bearer(token), explain=explain, paces=paces, remedy=REMEDY)
        try:
            await rest.ask("GET", "/v1/account")
        except BaseException:
            await rest.aclose()
            raise
        return AcmeSession(self, identity, rest)
