"""What ``skyward doctor`` looks at: the credentials, the balance, the location, and what is to be had."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from skyward import ProviderError
from skyward.spi import Finding
from skyward_verda._api import Api
from skyward_verda._errors import BILLING

if TYPE_CHECKING:
    from skyward_verda._settings import Verda

__all__ = ["examine"]

_LITTLE = 1.0
"""An amount that a pool has used up at once: an hour of the cheapest machines with a GPU costs so much."""


async def examine(settings: Verda) -> list[Finding]:
    """Look at everything that a pool will need, without creating anything.

    Raises:
        ProviderError: the credentials are missing or refused, or Verda cannot be reached.
    """
    api = Api(settings)
    try:
        places = await api.locations()
        findings = [Finding(subject="credentials", detail=f"Verda has {len(places)} locations: {', '.join(places)}")]
        if settings.region is not None:
            findings.append(_region(settings.region, places))
        findings += [await _asked("balance", _balance(api)), await _asked("capacity", _capacity(api, settings.region))]
        return findings
    finally:
        await api.aclose()


def _region(region: str, places: list[str]) -> Finding:
    if region.casefold() in {each.casefold() for each in places}:
        return Finding(subject="region", detail=region)
    remedy = f"write Verda(region={places[0]!r}), or leave it out for all" if places else "leave it out for all"
    return Finding(subject="region", level="problem", detail=f"there is no location {region!r}", remedy=remedy)


async def _balance(api: Api) -> Finding:
    left = await api.balance()
    detail = f"{left.amount:.2f} {left.currency.upper()}"
    if left.amount >= _LITTLE:
        return Finding(subject="balance", detail=detail)
    return Finding(
        subject="balance",
        level="problem" if left.amount <= 0 else "warning",
        detail=f"{detail}, and at 0 Verda ends every instance",
        remedy=f"add funds at {BILLING}",
    )


async def _capacity(api: Api, region: str | None) -> Finding:
    there = await api.available()
    rows = {
        market: [row for row in rows if region is None or row.location_code.casefold() == region.casefold()]
        for market, rows in there.items()
    }
    counts = {market: len({name for row in found for name in row.availabilities}) for market, found in rows.items()}
    detail = f"{counts['on-demand']} instance types on demand, {counts['spot']} on spot"
    if any(counts.values()):
        return Finding(subject="capacity", detail=detail)
    remedy = "wait, or leave out the region" if region is not None else "wait"
    return Finding(subject="capacity", level="warning", detail=detail, remedy=remedy)


async def _asked(subject: str, question: Awaitable[Finding]) -> Finding:
    try:
        return await question
    except ProviderError as error:
        fact, _, remedy = str(error).rpartition("; ")
        return Finding(subject=subject, level="warning", detail=fact or str(error), remedy=remedy or "try it again")
