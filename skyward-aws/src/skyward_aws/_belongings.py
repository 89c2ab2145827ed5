"""What a pool has beside machines: a key pair and a security group, from its first machine until after its last.

The key pair is made first and removed last, so that whoever looks for what was left behind finds it by that alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from skyward import ProviderError, Transient, Unavailable
from skyward.spi import KeyPair, PoolIdentity, client_lives
from skyward_aws._errors import Unclear
from skyward_aws._network import caller, rules
from skyward_aws._tags import ANY, CLIENT, DEADLINE, POOL, of_pool, specification, tags_of, told

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS

__all__ = ["Belongings", "Keeping", "Left", "name_of", "remove", "remove_left"]

_log = logging.getLogger("skyward.aws")

type Left = Literal["nothing", "ending", "machines"]
"""What is left of a pool: nothing; what cannot be removed before machines that are ending are gone; machines."""

_LIVING, _ENDING = ("pending", "running", "stopping", "stopped"), "shutting-down"
_SKEW = 60.0
"""Seconds after its deadline in which a pool of another host may still be ending."""
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
        if self._settings.security_group is None and networks is None:
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


async def remove(api: Api, region: str, pool_id: str) -> Left:
    """Remove what a pool has in a region beside machines; not before its last machine is gone. What is left then."""
    mine = [of_pool(pool_id)]
    machines = await api.pages(
        "describe_instances",
        "Reservations",
        region=region,
        Filters=[*mine, {"Name": "instance-state-name", "Values": [*_LIVING, _ENDING]}],
    )
    if states := {each["State"]["Name"] for row in machines for each in row["Instances"]}:
        return "ending" if states == {_ENDING} else "machines"
    templates, groups, keys = await asyncio.gather(
        api.pages("describe_launch_templates", "LaunchTemplates", region=region, Filters=mine),
        api.pages("describe_security_groups", "SecurityGroups", region=region, Filters=mine),
        api.ask("describe_key_pairs", region=region, Filters=mine),
    )
    await asyncio.gather(
        *(_gone(api, "delete_launch_template", region, LaunchTemplateId=each["LaunchTemplateId"]) for each in templates)
    )
    try:
        await asyncio.gather(*(_gone(api, "delete_security_group", region, GroupId=each["GroupId"]) for each in groups))
    except Unavailable as error:
        if "DependencyViolation" not in str(error):
            raise
        return "ending"  # it still has the network card of a machine that has just ended
    await asyncio.gather(*(_gone(api, "delete_key_pair", region, KeyName=each["KeyName"]) for each in keys["KeyPairs"]))
    return "nothing"


async def left_behind(api: Api, region: str) -> list[str]:
    """Pools of clients that are dead, as far as that can be told, of which a region has something beside machines."""
    found = (await api.ask("describe_key_pairs", region=region, Filters=[ANY]))["KeyPairs"]
    pools = {}
    for each in found:
        tags = told(each)
        pools[tags.get(POOL, "")] = _is_dead(tags)
    return [pool for pool, dead in pools.items() if pool and dead]


async def remove_left(api: Api, region: str) -> None:
    """Remove what dead clients have left in a region beside machines: machines end themselves, the rest does not."""
    for pool in await left_behind(api, region):
        if await remove(api, region, pool) == "nothing":
            _log.info("removed what pool %s of a client that has died had left in %s", pool, region)


def _is_dead(tags: Mapping[str, str]) -> bool:
    lives = client_lives(tags.get(CLIENT, ""))
    if lives is not None:
        return not lives
    with contextlib.suppress(ValueError):
        return time.time() > float(tags.get(DEADLINE, "")) + _SKEW
    return False


async def _gone(api: Api, operation: str, region: str, **parameters: str) -> None:
    """Remove something; what is not there is gone."""
    try:
        await api.ask(operation, region=region, **parameters)
    except Unavailable as error:
        if "NotFound" not in str(error):
            raise


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
