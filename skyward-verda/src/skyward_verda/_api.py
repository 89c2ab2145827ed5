"""Verda's API, question by question."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from skyward.spi import Market, RestClient
from skyward_verda._catalog import Available, Kind
from skyward_verda._credentials import REMEDY, found
from skyward_verda._errors import Unknown, explained
from skyward_verda._images import Image
from skyward_verda._token import Tokens

if TYPE_CHECKING:
    from skyward_verda._settings import Verda

__all__ = ["Api", "Balance", "Key", "Machine", "Script", "Volume"]

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")


@frozen
class Machine:
    """An instance."""

    id: str
    status: str
    hostname: str = ""
    description: str = ""
    location: str = ""
    instance_type: str = ""
    is_spot: bool = False
    ip: str | None = None
    os_volume_id: str | None = None
    volume_ids: tuple[str, ...] = ()
    startup_script_id: str | None = None


@frozen
class Key:
    """The public half of a key, which instances can be made with; ``key`` is its line, with a comment."""

    id: str
    name: str
    key: str


@frozen
class Script:
    """What instances can run at their first boot. Whoever may ask the account's API can read it."""

    id: str
    name: str
    script: str = field(repr=False)
    created_at: str = ""


@frozen
class Volume:
    """A disk, of an instance or of none."""

    id: str
    name: str
    instance_id: str | None = None


@frozen
class Balance:
    """What is left of what was paid in advance."""

    amount: float
    currency: str = "usd"


@frozen
class _Place:
    code: str


async def _nobody() -> Mapping[str, str]:
    return {}


class Api:
    """One account.

    Args:
        settings: the user's.

    Raises:
        AuthenticationFailed: there are no credentials.
    """

    def __init__(self, settings: Verda) -> None:
        credentials = found(settings.profile)
        remedy = f"they are those of {credentials.source}; {REMEDY}"

        def client(authorize: Any, **more: Any) -> RestClient:
            return RestClient(
                "Verda",
                settings.endpoint,
                authorize=authorize,
                explain=explained,
                remedy=remedy,
                secrets=(credentials.secret,),
                **more,
            )

        self._door = client(_nobody, patience=0.0)  # whoever needs a token repeats the whole question
        self.rest = client(Tokens(self._door, credentials))

    async def aclose(self) -> None:
        """Close the connections."""
        await self.rest.aclose()
        await self._door.aclose()

    # ---- what is sold

    async def locations(self) -> list[str]:
        """The codes of all locations."""
        return [each.code for each in await self.rest.ask("GET", "/locations", into=list[_Place])]

    async def kinds(self) -> list[Kind]:
        """What is sold, at prices in US dollars."""
        return await self.rest.ask("GET", "/instance-types", params={"currency": "usd"}, into=list[Kind])

    async def available(self) -> dict[Market, list[Available]]:
        """What there is now, by market and location."""

        async def there(spot: str) -> list[Available]:
            # One of the vendor's clients writes it one way, and one the other.
            params = {"is_spot": spot, "isSpot": spot}
            return await self.rest.ask("GET", "/instance-availability", params=params, into=list[Available])

        demand, spot = await asyncio.gather(there("false"), there("true"))
        return {"on-demand": demand, "spot": spot}

    async def images(self, kind: str) -> list[Image]:
        """What an instance type can boot."""
        return await self.rest.ask("GET", "/images", params={"instance_type": kind}, into=list[Image])

    async def balance(self) -> Balance:
        """What is left to spend."""
        return await self.rest.ask("GET", "/balance", into=Balance)

    # ---- instances

    async def machines(self) -> list[Machine]:
        """All instances of the account that are not deleted."""
        return await self.rest.ask("GET", "/instances", into=list[Machine])

    async def machine(self, name: str) -> Machine | None:
        """An instance by its id; ``None`` for one that Verda does not have."""
        if not _ID.fullmatch(name):  # an empty one would ask for the list
            return None
        try:
            return await self.rest.ask("GET", f"/instances/{name}", into=Machine, absent=None)
        except Unknown:
            return None

    async def create(self, order: Mapping[str, Any]) -> str:
        """Make an instance; its id. What is left without a clear answer is looked for by its hostname.

        Raises:
            Transient: it was not made.
            ProviderError: Verda refuses.
        """

        async def find() -> str | None:
            return next((each.id for each in await self.machines() if each.hostname == order["hostname"]), None)

        return _bare(await self.rest.create("POST", "/instances", body=dict(order), into=str, find=find))

    async def delete(self, machine: Machine) -> None:
        """Delete an instance with its volumes, for good. One that is gone is no obstacle.

        Raises:
            Transient: it cannot be deleted yet.
            ProviderError: Verda refuses.
        """
        volumes = [each for each in (machine.os_volume_id, *machine.volume_ids) if each]
        body: dict[str, Any] = {"action": "delete", "id": [machine.id], "delete_permanently": True}
        if volumes:  # where none are named, the one with the operating system goes along
            body["volume_ids"] = list(dict.fromkeys(volumes))
        with contextlib.suppress(Unknown):
            await self.rest.ask("PUT", "/instances", body=body)

    # ---- keys, scripts, volumes

    async def keys(self) -> list[Key]:
        """All keys of the account."""
        return await self.rest.ask("GET", "/sshkeys", into=list[Key])

    async def add_key(self, name: str, public: str) -> str:
        """Make a key known; its id."""

        async def find() -> str | None:
            return next((each.id for each in await self.keys() if each.name == name), None)

        body = {"name": name, "key": public}
        return _bare(await self.rest.create("POST", "/sshkeys", body=body, into=str, find=find))

    async def remove_key(self, name: str) -> None:
        """Remove a key by its id; one that is not there is no obstacle."""
        await self._remove("/sshkeys", name)

    async def scripts(self) -> list[Script]:
        """All scripts of the account."""
        return await self.rest.ask("GET", "/scripts", into=list[Script])

    async def add_script(self, name: str, text: str) -> str:
        """Keep a script; its id."""

        async def find() -> str | None:
            # A record may be made anew under its old name.
            return next((each.id for each in await self.scripts() if (each.name, each.script) == (name, text)), None)

        body = {"name": name, "script": text}
        return _bare(await self.rest.create("POST", "/scripts", body=body, into=str, find=find))

    async def remove_script(self, name: str) -> None:
        """Remove a script by its id; likewise."""
        await self._remove("/scripts", name)

    async def volumes(self) -> list[Volume]:
        """All volumes of the account that are not in the trash."""
        return await self.rest.ask("GET", "/volumes", into=list[Volume])

    async def remove_volume(self, name: str) -> None:
        """Delete a volume by its id, for good; likewise."""
        await self._remove("/volumes", name, body={"is_permanent": True})

    async def _remove(self, path: str, name: str, body: object = None) -> None:
        if _ID.fullmatch(name):
            await self.rest.ask("DELETE", f"{path}/{name}", body=body, absent=None)


def _bare(text: str) -> str:
    """An id, which stands alone in the answer, in quotes or not."""
    return text.strip().strip('"')
