"""What a pool has beside machines: a key pair and a security group, from its first machine until after its last.

The key pair is made first and removed last, so that whoever looks for what was left behind finds it by that alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward import ProviderError, Transient, Unavailable
from skyward.spi import KeyPair, PoolIdentity
from skyward_aws._errors import Unclear
from skyward_aws._leftovers import Left, remove
from skyward_aws._network import caller, rules
from skyward_aws._tags import of_pool, specification, tags_of

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS

__all__ = ["Belongings", "Keeping", "name_of"]

_ATTEMPTS = 5
_PAUSE = 0.5
"""Seconds before what AWS does not know yet, although it made it, is asked for again; each pause is twice as long."""


@frozen
class Keeping:
    """What machines are launched with: the name of the key pair, and the id of the security group."""

    key: str
    group: str


def name_of(pool_id: str) -> str:
    """The name of a pool's key pair, security group and launch templates."""
    return "skyward-" + re.sub(r"[^A-Za-z0-9_.-]", "-", pool_id)


class Belongings:
    """The key pair and the security group of one pool.

    Args:
        api: the account.
        settings: the user's.
        pool_id: the pool's.
    """

    def __init__(self, api: Api, settings: AWS, pool_id: str) -> None:
        self.pool_id = pool_id
        self._api = api
        self._settings = settings
        self._made: Keeping | None = None
        self._begun = False
        self._turn = asyncio.Lock()
        self._users = 0

    @property
    def made(self) -> bool:
        """Whether there may be something to remove."""
        return self._begun

    @contextlib.asynccontextmanager
    async def needed(self, identity: PoolIdentity, key: KeyPair, vpc: str) -> AsyncGenerator[Keeping]:
        """Make them where they are missing, and keep them at least as long as the block lasts.

        Raises:
            ProviderError: they cannot be made.
        """
        self._users += 1
        try:
            async with self._turn:
                if self._made is None:
                    self._begun = True
                    self._made = await self._make(identity, key, vpc)
                made = self._made
            yield made
        finally:
            self._users -= 1

    async def _make(self, identity: PoolIdentity, key: KeyPair, vpc: str) -> Keeping:
        api, name, tags = self._api, name_of(identity.pool_id), tags_of(identity)
        networks = self._settings.ssh_from
        if self._settings.asks_for_address:
            networks = await caller()
        await _made_once(
            lambda: api.order(
                "import_key_pair",
                KeyName=name,
                PublicKeyMaterial=key.public.encode(),
                TagSpecifications=specification(tags, "key-pair"),
            )
        )
        if self._settings.security_group is not None:
            return Keeping(name, self._settings.security_group)
        answer = await _made_once(
            lambda: api.order(
                "create_security_group",
                GroupName=name,
                Description=f"nodes of skyward's pool {identity.pool_id}"[:255],
                VpcId=vpc,
                TagSpecifications=specification(tags, "security-group"),
            )
        )
        group = str(answer["GroupId"]) if answer else await self._group(identity.pool_id)
        permissions = rules(group, networks or ())
        await _known_soon(
            lambda: _made_once(
                lambda: api.order("authorize_security_group_ingress", GroupId=group, IpPermissions=permissions)
            )
        )
        return Keeping(name, group)

    async def _group(self, pool_id: str) -> str:
        """The group, of which the answer was lost."""

        async def found() -> str:
            groups = (await self._api.ask("describe_security_groups", Filters=[of_pool(pool_id)]))["SecurityGroups"]
            if not groups:
                raise Unavailable(f"the security group of pool {pool_id} was made, and cannot be found (NotFound)")
            return str(groups[0]["GroupId"])

        return await _known_soon(found)

    async def remove(self) -> Left:
        """Remove them, if no launch needs them and no machine is left."""
        async with self._turn:
            if self._users:
                return "machines"
            left = await remove(self._api, self._api.region, self.pool_id)
            if left == "nothing":
                self._made, self._begun = None, False
            return left


async def _made_once(order: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
    """Make something that bears the pool's name, again after an unclear answer; ``None`` if it was there then.

    Nobody else makes anything of that name, so there is never a second one.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await order()
        except Unclear:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE)
        except Unavailable as error:
            if ".Duplicate" not in str(error):
                raise
            return None
    raise AssertionError("unreachable")


async def _known_soon[T](ask: Callable[[], Awaitable[T]]) -> T:
    """Ask for what was made just now, until AWS knows it everywhere."""
    pause = _PAUSE
    for _ in range(_ATTEMPTS):
        try:
            return await ask()
        except ProviderError as error:
            if "NotFound" not in str(error):
                raise
        await asyncio.sleep(pause)
        pause *= 2
    try:
        return await ask()
    except Unavailable as error:
        raise Transient(str(error)) from error
