"""Ending machines at a provider: tried again and again, and proven by asking."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from skyward._asking import ask, persistently
from skyward._concurrency import shielded
from skyward.errors import ProvisioningError, SkywardError
from skyward.model.instance import Instance, InstanceState

if TYPE_CHECKING:
    from skyward._market import Seller

__all__ = ["LATE", "describe", "shielded", "sweep", "terminate"]

_log = logging.getLogger("skyward.teardown")

_PATIENCE = 180.0
"""Seconds for which a provider is asked again to end machines, and whether they are gone."""
_ASK_LIMIT = 30.0
LATE = 60.0
"""Seconds after an order was given up in which it may still bring forth a machine. Clouds take seconds to list a new
machine, at times up to a minute."""


async def terminate(seller: Seller, ids: Sequence[str]) -> None:
    """End machines and wait until their provider says that they are gone.

    Raises:
        SkywardError: the last failure, when they are still there after a long time.
    """

    async def end() -> None:
        await ask(seller.provider, "terminate", seller.session.terminate(ids), _ASK_LIMIT)
        known = await describe(seller, ids)
        left = [name for name, found in known.items() if found.state is not InstanceState.GONE]
        if left:
            raise ProvisioningError(f"{', '.join(left)} still there after being ended")

    await persistently(end, on=SkywardError, patience=_PATIENCE, first=0.05, longest=10)


async def describe(seller: Seller, ids: Sequence[str]) -> dict[str, Instance]:
    """What a provider says of machines: those that it knows.

    Raises:
        SkywardError: it cannot tell.
    """

    async def states() -> dict[str, Instance]:
        found = await seller.session.describe(ids)
        return {name: found[name] for name in ids if name in found and found[name].state in InstanceState}

    return await ask(seller.provider, "describe", states(), _ASK_LIMIT)


async def sweep(seller: Seller, pool_id: str, *, known: Collection[str] = (), settle: float = 0) -> list[str]:
    """Look for machines of a pool by its tag, and end those that nobody told of; returns their ids.

    Args:
        seller: where to look.
        pool_id: the tag.
        known: ids to pass over.
        settle: seconds for which to look again and again, for what a launch may bring forth late.

    Raises:
        ProvisioningError: some cannot be ended.
        SkywardError: the provider cannot tell.
    """
    ended: dict[str, None] = {}

    async def clear() -> None:
        strays = [name for name in await _owned(seller, pool_id) if name not in known]
        if not strays:
            return
        _log.warning("ending %s of %s, of which its pool was not told", ", ".join(strays), seller.provider.name)
        ended.update(dict.fromkeys(strays))
        try:
            await terminate(seller, strays)
        except SkywardError as error:
            raise ProvisioningError(f"{', '.join(strays)}: {error}") from error
        raise _Listed(f"{', '.join(strays)} still listed after being ended")

    loop = asyncio.get_running_loop()
    end = loop.time() + settle
    pause = 1.0
    while True:
        await persistently(clear, on=_Listed, patience=_PATIENCE, first=0.05, longest=10)
        left = end - loop.time()
        if left <= 0:
            return list(ended)
        await asyncio.sleep(min(pause, left))
        pause = min(4 * pause, 10.0)


class _Listed(ProvisioningError):
    """A machine was ended, and its provider lists it."""


async def _owned(seller: Seller, pool_id: str) -> list[str]:
    async def listed() -> list[str]:
        found = await seller.session.list_owned(pool_id)
        # A plugin that lists too much must not have other pools' machines ended.
        return [each.id for each in found if each.state is not InstanceState.GONE and each.pool_id in ("", pool_id)]

    return await persistently(
        lambda: ask(seller.provider, "list_owned", listed(), _ASK_LIMIT), on=SkywardError, attempts=4
    )
