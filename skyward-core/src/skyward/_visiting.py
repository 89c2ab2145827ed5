"""Asking a provider from outside of pools, as a client that buys nothing."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from skyward._asking import ask, let_go, persistently
from skyward._client import this_client
from skyward._market import Seller, answered
from skyward.errors import SkywardError
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import Belongings, PoolIdentity, Provider

__all__ = ["ASK_LIMIT", "left", "opened", "owned"]

ASK_LIMIT = 30.0
"""Seconds that a provider may take to answer to one question."""


@contextlib.asynccontextmanager
async def opened(provider: Provider, *, patient: bool = True) -> AsyncGenerator[Seller]:
    """A session of a client that buys nothing, for the time of a block.

    Args:
        provider: whose.
        patient: ask again where nothing is answered, as whoever has to know does. Otherwise that costs no more time
            than it would a pool.

    Raises:
        SkywardError: it cannot be opened.
    """
    identity = PoolIdentity(
        pool_id=f"reap-{secrets.token_hex(5)}",
        owner=f"{getpass.getuser()}@{socket.gethostname()}",
        deadline=None,
        lease=None,
        token=secrets.token_bytes(32),
        client=this_client(),
    )
    if patient:
        session = await persistently(
            lambda: ask(provider, "open", provider.open(identity), ASK_LIMIT), attempts=4, patience=ASK_LIMIT / 2
        )
    else:
        session = await answered(provider, "open", lambda: provider.open(identity))
    try:
        yield Seller(provider, session, (), None)
    finally:
        await let_go(provider, "close", session.close)


async def owned(seller: Seller, pool_id: str | None, *, patient: bool = True) -> list[Instance]:
    """The machines of a pool by their tags, or of all pools; those that are gone left out. ``patient`` as of `opened`.

    Raises:
        SkywardError: the provider cannot tell.
    """
    return await _listed(seller, "list_owned", seller.session.list_owned, pool_id, patient=patient)


async def left(seller: Seller, pool_id: str | None) -> list[Instance]:
    """What a pool has left beside machines, or all pools have; nothing where sessions have no `Belongings`.

    Raises:
        SkywardError: the provider cannot tell.
    """
    session: object = seller.session
    if not isinstance(session, Belongings):
        return []
    return await _listed(seller, "list_left", session.list_left, pool_id, patient=True)


async def _listed(
    seller: Seller,
    name: str,
    call: Callable[[str | None], Awaitable[Sequence[Instance]]],
    pool_id: str | None,
    *,
    patient: bool,
) -> list[Instance]:
    async def listed() -> list[Instance]:
        return [each for each in await call(pool_id) if each.state is not InstanceState.GONE]

    if not patient:
        return await answered(seller.provider, name, listed)
    return await persistently(
        lambda: ask(seller.provider, name, listed(), ASK_LIMIT), on=SkywardError, attempts=4, patience=ASK_LIMIT / 2
    )
