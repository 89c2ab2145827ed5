"""What ``skyward doctor`` looks at: the account, what its token may do, and where its droplets would be put."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from skyward import ProviderError
from skyward.spi import Finding
from skyward_digitalocean import _api
from skyward_digitalocean._shapes import OneNetwork

if TYPE_CHECKING:
    from skyward.spi import RestClient
    from skyward_digitalocean._settings import DigitalOcean

__all__ = ["examine"]


async def examine(rest: RestClient, settings: DigitalOcean) -> list[Finding]:
    """Look at everything that a pool will need, without creating anything.

    What a token may create DigitalOcean tells only where it is tried: the rights to read stand for those to write.
    """
    account = await _api.known(rest)
    findings = [Finding(subject="credentials", detail=f"account {account.email}")]
    if account.status == "warning":
        said = rest.safe(account.status_message)
        findings.append(
            Finding(subject="account", level="warning", detail=said, remedy="see https://cloud.digitalocean.com")
        )
    findings.append(await _asked("prices", _region(rest, settings.region)))
    findings.append(await _asked("droplets", _droplets(rest, account.droplet_limit)))
    findings.append(await _asked("permission ssh_key:read", _reading("ssh_key", _api.keys(rest))))
    findings.append(await _asked("permission tag:read", _reading("tag", _api.tags(rest))))
    if settings.vpc is not None:
        findings.append(await _asked("network", _network(rest, settings)))
    return findings


async def _region(rest: RestClient, region: str) -> Finding:
    sizes = await _api.sizes(rest)
    here = [size for size in sizes if size.available and region in size.regions]
    if here:
        return Finding(subject="prices", detail=f"{len(here)} sizes in {region}")
    regions = sorted({each for size in sizes for each in size.regions})
    return Finding(
        subject="prices",
        level="problem",
        detail=f"nothing is sold in {region}",
        remedy=f"choose one of {', '.join(regions)}",
    )


async def _droplets(rest: RestClient, limit: int) -> Finding:
    found = await _api.droplets(rest)
    detail = f"{len(found)} of {limit}"
    if limit and len(found) >= limit:
        return Finding(subject="droplets", level="problem", detail=detail, remedy=f"raise the limit at {_api.LIMITS}")
    return Finding(subject="droplets", detail=detail)


async def _reading(what: str, question: Awaitable[object]) -> Finding:
    await question
    return Finding(subject=f"permission {what}:read")


async def _network(rest: RestClient, settings: DigitalOcean) -> Finding:
    told = await rest.ask("GET", _api.path_of("vpcs", settings.vpc), into=OneNetwork, absent=None)
    if told is None or told.vpc.region != settings.region:
        where = f"in {told.vpc.region}" if told else "not there"
        return Finding(
            subject="network",
            level="problem",
            detail=f"the VPC {settings.vpc} is {where}",
            remedy=f"give one of {settings.region}, as `doctl vpcs list` tells, or leave vpc out",
        )
    return Finding(subject="network", detail=f"{told.vpc.name} in {told.vpc.region}")


async def _asked(subject: str, question: Awaitable[Finding]) -> Finding:
    """What came of a question, be it an error, whose last part is the remedy."""
    try:
        return await question
    except ProviderError as error:
        fact, _, remedy = str(error).rpartition(": ")
        return Finding(subject=subject, level="problem", detail=fact or remedy, remedy=remedy)
