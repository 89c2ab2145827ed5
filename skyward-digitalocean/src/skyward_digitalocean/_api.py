"""DigitalOcean's interface: who asks, how often, what refusals mean, and lists page by page."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Answer, Pace, RestClient, bearer
from skyward_digitalocean._offers import Size
from skyward_digitalocean._settings import ENDPOINT, endpoint_of
from skyward_digitalocean._shapes import Account, Droplet, Droplets, Key, Keys, Links, Sizes, Tag, Tags, Told

if TYPE_CHECKING:
    from skyward_digitalocean._settings import DigitalOcean

__all__ = [
    "LIMITS",
    "client",
    "destroyed",
    "droplets",
    "explained",
    "keys",
    "known",
    "path_of",
    "sizes",
    "tags",
    "token",
]

_VARIABLES = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")
_ENDPOINT = "SKYWARD_DIGITALOCEAN_ENDPOINT"
_REMEDY = (
    "set DIGITALOCEAN_TOKEN to a token with the scopes that skyward-digitalocean's page lists; "
    "https://cloud.digitalocean.com/account/api/tokens makes one"
)
LIMITS = "https://cloud.digitalocean.com/account/team/droplet_limit_increase"
_PACES = (
    Pace(times=5000, seconds=3600),
    Pace(times=250, seconds=60),
    Pace("GET", "/v2/account/keys", times=10, seconds=60),
)
"""https://docs.digitalocean.com/reference/api/#rate-limit, and that of lists of keys."""
_PAGE = 200
"""Things on a page, at most: https://docs.digitalocean.com/reference/api/#pagination."""
_MOST_PAGES = 100


class _Page(Protocol):
    @property
    def links(self) -> Links: ...


def token() -> str:
    """The token.

    Raises:
        AuthenticationFailed: no variable has one.
    """
    for name in _VARIABLES:
        if found := os.environ.get(name, "").strip():
            return found
    raise AuthenticationFailed(f"neither {' nor '.join(_VARIABLES)} has a token for DigitalOcean: {_REMEDY}")


def client(settings: DigitalOcean) -> RestClient:
    """A client that asks where the settings say, or ``SKYWARD_DIGITALOCEAN_ENDPOINT`` where they say nothing.

    Raises:
        AuthenticationFailed: there is no token.
        ConfigurationError: the variable has no address.
    """
    endpoint = settings.endpoint
    if endpoint == ENDPOINT and (other := os.environ.get(_ENDPOINT, "").strip()):
        endpoint = endpoint_of(other, _ENDPOINT)
    return RestClient(
        "DigitalOcean",
        endpoint,
        authorize=bearer(token()),
        explain=explained,
        paces=_PACES,
        remedy=_REMEDY,
    )


async def known(rest: RestClient) -> Account:
    """The account of the token.

    Raises:
        AuthenticationFailed: the token is refused, or the account is locked.
        Transient: DigitalOcean cannot be reached.
    """
    account = (await rest.ask("GET", "/v2/account", into=Told)).account
    if account.status == "locked":
        said = rest.safe(account.status_message) or "no reason is given"
        raise AuthenticationFailed(
            f"DigitalOcean has locked the account ({said}): see https://cloud.digitalocean.com, or set "
            "DIGITALOCEAN_TOKEN to the token of another account"
        )
    return account


async def listed[P: _Page, T](
    rest: RestClient, path: str, page: type[P], items: Callable[[P], Iterable[T]], **params: object
) -> list[T]:
    """All things of a list, from all its pages.

    Raises:
        ProviderError: as of `RestClient.ask`; or the pages do not end.
    """
    found: list[T] = []
    for number in range(1, _MOST_PAGES + 1):
        told = await rest.ask("GET", path, params={"per_page": _PAGE, "page": number, **params}, into=page)
        some = list(items(told))
        found += some
        # The address of the next page names DigitalOcean's own host, whoever was asked: only that there is one counts.
        if not told.links.pages.next or not some:
            return found
    raise Transient(f"DigitalOcean answers GET {path} with pages that do not end: its API may have changed")


async def droplets(rest: RestClient) -> list[Droplet]:
    """All droplets of the account: those with GPUs are in a list of their own, which cannot be filtered by tags."""
    plain, gpus = await asyncio.gather(
        listed(rest, "/v2/droplets", Droplets, lambda page: page.droplets),
        listed(rest, "/v2/droplets", Droplets, lambda page: page.droplets, type="gpus"),
    )
    return [*plain, *gpus]


async def keys(rest: RestClient) -> list[Key]:
    """All keys of the account. DigitalOcean allows ten such questions in a minute."""
    return await listed(rest, "/v2/account/keys", Keys, lambda page: page.ssh_keys)


async def tags(rest: RestClient) -> list[Tag]:
    """All tags of the account."""
    return await listed(rest, "/v2/tags", Tags, lambda page: page.tags)


async def sizes(rest: RestClient) -> list[Size]:
    """All that is for sale, everywhere."""
    return await listed(rest, "/v2/sizes", Sizes, lambda page: page.sizes)


def path_of(*parts: object) -> str:
    """A path below ``/v2``, its parts quoted."""
    return "/v2/" + "/".join(quote(str(part), safe="") for part in parts)


async def destroyed(rest: RestClient, *parts: object) -> None:
    """Remove what is at a path; what is not there is fine."""
    await rest.ask("DELETE", path_of(*parts), absent=None)


def explained(answer: Answer) -> ProviderError | None:
    """What a refusal means where the status alone does not tell."""
    creating = answer.method == "POST" and answer.path == "/v2/droplets"
    said, lower = answer.words[:300], answer.words.lower()
    if answer.status == 429:
        return _throttled(answer)
    if answer.status not in (400, 409, 422):
        return None
    if not creating:
        return Unavailable(f"DigitalOcean refuses {answer.method} {answer.path} with {answer.status}: {said}")
    if "invalid key identifier" in lower:  # one that was made a moment ago
        return Transient(f"DigitalOcean does not know the pool's key yet: {said}", retry_after=2.0)
    if "limit" in lower:
        return QuotaExceeded(
            f"DigitalOcean sells the account no more of these: {said}: raise the limit at {LIMITS}",
            quota="droplet limit",
            url=LIMITS,
        )
    return Unavailable(f"DigitalOcean does not sell this: {said}")


def _throttled(answer: Answer) -> Transient | None:
    """Only the limit per minute comes with ``Retry-After``; of that per hour it is told when it is over."""
    if "retry-after" in answer.headers or answer.headers.get("ratelimit-remaining") != "0":
        return None
    try:
        seconds = float(answer.headers["ratelimit-reset"]) - time.time()
    except (KeyError, ValueError):
        return None
    return Transient(
        f"DigitalOcean answers {answer.method} {answer.path} with 429: the account has asked 5000 times in this hour",
        retry_after=min(max(seconds, 1.0), 3600.0),
    )
