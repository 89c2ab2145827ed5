"""Asking a provider from outside of pools, as a client that buys nothing."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import socket
from collections.abc import AsyncGenerator

from skyward._asking import ask, let_go, persistently
from skyward._client import this_client
from skyward._market import Seller
from skyward.errors import SkywardError
from skyward.model.instance import Instance, InstanceState
from skyward.spi.provider import PoolIdentity, Provider

__all__ = ["ASK_LIMIT", "opened", "owned"]

ASK_LIMIT = 30.0
"""Seconds that a provider may take to answer to one question."""


@contextlib.asynccontextmanager
async def opened(provider: Provider) -> AsyncGenerator[Seller]:
    """A session of a client that buys nothing, for the time of a block.

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
    session = await persistently(lambda: ask(provider, "open", provider.open(identity), ASK_LIMIT), attempts=4)
    try:
        yield Seller(provider, session, (), None)
    finally:
        await let_go(provider, "close", session.close)


async def owned(seller: Seller, pool_id: str | None) -> list[Instance]:
    """The machines of a pool by their tags, or of all pools; those that are gone left out.

    Raises:
        SkywardError: the provider cannot tell.
    """

    async def listed() -> list[Instance]:
        found = await seller.session.list_owned(pool_id)
        return [machine for machine in found if machine.state is not InstanceState.GONE]

    return await persistently(
        lambda: ask(seller.provider, "list_owned", listed(), ASK_LIMIT), on=SkywardError, attempts=4
    )
