"""What ``skyward doctor`` looks at: the account, what it may do, and where its machines would be put."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from skyward import ProviderError
from skyward.spi import Finding, PoolIdentity, new_key_pair
from skyward_aws import _ami, _prices
from skyward_aws._network import caller, subnets
from skyward_aws._permissions import trials, tried
from skyward_aws._ssm import Tunnels
from skyward_aws._tags import pairs, tags_of

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS

__all__ = ["examine"]

_TRIAL = "c7i.large"
"""An instance type that most regions have; nothing of it is launched."""


async def examine(api: Api, settings: AWS) -> list[Finding]:
    """Look at everything that a pool will need, without creating anything."""
    findings = [Finding(subject="credentials", detail=f"account {api.account}, region {api.region}")]
    image_id, places = "", None
    try:
        own = settings.ami
        image = await (_ami.described(api, own) if own else _ami.found(api, settings.architecture or "x86_64", None))
        image_id = image.id
        findings.append(Finding(subject="image", detail=f"{image.id}, {image.architecture}"))
    except ProviderError as error:
        findings.append(_problem("image", error))
    try:
        places = await subnets(api, settings.subnet)
        findings.append(Finding(subject="network", detail=f"{places.vpc}, in {', '.join(sorted(places.by_zone))}"))
    except ProviderError as error:
        findings.append(_problem("network", error))
    if image_id and places is not None:
        key = await asyncio.to_thread(new_key_pair, "skyward doctor")
        requests = trials(
            key=key.public,
            image=image_id,
            kind=_TRIAL,
            subnet=next(iter(places.by_zone.values())),
            vpc=places.vpc,
            tags=pairs(tags_of(_nobody())),
            group=settings.security_group is None,
            profile=settings.instance_profile,
        )
        refusals = await tried(api, requests)
        findings += [
            Finding(subject=f"permission {action}") if error is None else _problem(f"permission {action}", error)
            for action, error in refusals.items()
        ]
    findings.append(await _asked("prices", _prices.one(api, _TRIAL)))
    if settings.use_ssm:
        findings.append(await _asked("Session Manager", Tunnels(api, settings).check()))
    if settings.asks_for_address:
        findings.append(await _asked("address of this machine", caller()))
    return findings


async def _asked(subject: str, question: Awaitable[object]) -> Finding:
    try:
        await question
    except ProviderError as error:
        return _problem(subject, error, level="warning" if subject == "prices" else "problem")
    return Finding(subject=subject)


def _problem(subject: str, error: ProviderError, level: str = "problem") -> Finding:
    """An error's fact, and the remedy that its last part is."""
    fact, _, remedy = str(error).rpartition(": ")
    if level == "warning":
        return Finding(subject=subject, level="warning", detail=fact, remedy=remedy)
    return Finding(subject=subject, level="problem", detail=fact, remedy=remedy)


def _nobody() -> PoolIdentity:
    """The identity of a pool that there will never be."""
    return PoolIdentity(
        pool_id=f"doctor-{secrets.token_hex(4)}",
        owner="doctor",
        deadline=time.time(),
        lease=None,
        token=secrets.token_bytes(16),
    )
