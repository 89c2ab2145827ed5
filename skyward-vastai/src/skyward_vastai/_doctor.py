"""What ``skyward doctor`` looks at: the key, the credit, and whether anything is for rent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from skyward import Image, ProviderError
from skyward.spi import ComputeSpec, Finding
from skyward_vastai._limits import BILLING
from skyward_vastai._market import Searches
from skyward_vastai._session import client

if TYPE_CHECKING:
    from skyward.spi import RestClient
    from skyward_vastai._settings import VastAI

__all__ = ["examine"]


@frozen
class _Account:
    """What Vast.ai says of the account: its number, and the dollars that it has been filled up with."""

    id: int
    credit: float | None = None
    balance: float | None = None


async def examine(settings: VastAI) -> list[Finding]:
    """Look at everything that a pool will need, without renting anything.

    Raises:
        ProviderError: as of ``open``.
    """
    rest = client(settings)
    try:
        account = await rest.ask("GET", "/api/v0/users/current/", into=_Account)
        found = [Finding(subject="credentials", detail=f"account {account.id} at {rest.endpoint}"), _credit(account)]
        return [*found, await _market(rest, settings)]
    finally:
        await rest.aclose()


def _credit(account: _Account) -> Finding:
    dollars = (account.credit or 0.0) + (account.balance or 0.0)
    if dollars > 0:
        return Finding(subject="credit", detail=f"${dollars:.2f}")
    return Finding(
        subject="credit",
        level="problem",
        detail="none is left, so nothing can be rented",
        remedy=f"add some at {BILLING}",
    )


async def _market(rest: RestClient, settings: VastAI) -> Finding:
    spec = ComputeSpec(nodes=1, image=Image())
    try:
        asks = await Searches(rest, settings).found(spec, "on-demand")
    except ProviderError as error:
        fact, _, remedy = str(error).rpartition(": ")
        return Finding(subject="market", level="problem", detail=fact, remedy=remedy)
    if asks:
        return Finding(subject="market", detail=f"{len(asks)} or more machines are for rent by these settings")
    return Finding(
        subject="market",
        level="warning",
        detail="nothing is for rent by these settings",
        remedy="lower reliability or cuda, name more countries, or raise max_price",
    )
