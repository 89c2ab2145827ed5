"""What vendors publish is kept: how often they may be asked, and what their answers are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Any

import pytest
from fakes import Reply, VendorServer
from fakes.fixtures import digitalocean_api as digitalocean_api
from fakes.fixtures import runpod_api as runpod_api
from fakes.fixtures import vastai_api as vastai_api
from fakes.fixtures import verda_api as verda_api
from fakes.schema import SPECS

from skyward import ProviderError
from skyward.spi import PoolIdentity
from skyward.testing._hurry import hurried
from skyward_digitalocean import DigitalOcean
from skyward_runpod import RunPod
from skyward_vastai import VastAI
from skyward_verda import Verda

PROVIDERS: dict[str, Any] = {"runpod": RunPod, "vastai": VastAI, "verda": Verda, "digitalocean": DigitalOcean}
HOUR = 3600.0


async def opened(vendor: str) -> Any:
    """A session of a new pool's."""
    who = PoolIdentity(
        pool_id=f"test-{secrets.token_hex(5)}",
        owner="ada@lab",
        deadline=time.time() + HOUR,
        lease=600.0,
        token=secrets.token_bytes(16),
    )
    return await PROVIDERS[vendor]().open(who)


@pytest.mark.parametrize(
    ("vendor", "question", "times", "seconds"),
    [
        ("digitalocean", "GET /v2/droplets", 5000, HOUR),
        ("digitalocean", "POST /v2/droplets", 250, 60.0),
        ("digitalocean", "GET /v2/account/keys", 10, 60.0),
        ("vastai", "POST /api/v0/bundles/", 10, 60.0),
        ("vastai", "PUT /api/v0/asks/7/", 1, 4.5),
        ("vastai", "GET /api/v1/instances/", 1, 1.0),
        ("vastai", "GET /api/v0/instances/7/", 1, 2.0),
        ("vastai", "PUT /api/v0/instances/7/", 1, 1.0),
        ("vastai", "DELETE /api/v0/instances/7/", 1, 3.0),
        ("vastai", "POST /api/v0/instances/7/ssh/", 1, 1.0),
    ],
)
def test_a_published_limit_is_kept(
    vendor: str, question: str, times: int, seconds: float, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(f"{vendor}_api")

    async def main() -> list[float]:
        session = await opened(vendor)
        pacer = session.rest._attempts._pacer
        now, sent, method, path = session.rest.waits.now() + HOUR, list[float](), *question.split()
        while len(sent) <= times:
            if wait := pacer.take(method, path, now):
                now += wait
            else:
                sent.append(now)
        await session.close()
        return sent

    sent = asyncio.run(main())
    assert sent[times] - sent[0] >= seconds, f"{times + 1} within less than {seconds:g} s"
    assert sent[times] - sent[0] <= seconds * 1.2, "slower than it needs to be"


SAID = "API requests too frequent endpoint threshold=7.0"


@pytest.mark.parametrize(
    ("vendor", "listing", "refusal"),
    [
        ("runpod", "GET /v2/pods", {"headers": {"Retry-After": "7"}}),
        ("verda", "GET /v1/instances", {"headers": {"Retry-After": "7"}}),
        ("digitalocean", "GET /v2/droplets", {"headers": {"retry-after": "7"}}),
        # Vast.ai has no such header, and three forms for the same words.
        ("vastai", "GET /api/v1/instances", {"body": SAID.replace("endpoint", ": endpoint")}),
        ("vastai", "GET /api/v1/instances", {"body": {"detail": SAID}}),
        ("vastai", "GET /api/v1/instances", {"body": {"success": False, "error": "rate_limit_exceeded", "msg": SAID}}),
    ],
)
def test_a_pause_is_kept_in_whatever_form_the_vendor_asks_for_it(
    vendor: str, listing: str, refusal: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    fake: VendorServer = request.getfixturevalue(f"{vendor}_api")

    async def main() -> None:
        session = await opened(vendor)
        fake.faults.fail(listing, 429, **refusal)
        before = session.rest.waits.now()
        assert await session.list_owned() == []
        assert session.rest.waits.now() - before >= 7
        await session.close()

    with hurried():
        asyncio.run(main())
    assert not fake.faults.left()


@pytest.mark.parametrize(
    ("vendor", "address"),
    [
        ("runpod", "https://api.runpod.io"),
        ("vastai", "https://console.vast.ai"),
        ("verda", "https://api.verda.com/v1"),
        ("digitalocean", "https://api.digitalocean.com"),
    ],
)
def test_whoever_says_nothing_else_asks_the_vendor_itself(
    vendor: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"SKYWARD_{vendor.upper()}_ENDPOINT", raising=False)
    assert PROVIDERS[vendor]().endpoint == address


@pytest.mark.parametrize(
    ("vendor", "document", "route"),
    [
        ("runpod", "runpod_openapi_v2.json", "list_pods"),
        ("vastai", "vast_openapi.yaml", "listed"),
        ("digitalocean", "do_subset_openapi.json", "list_droplets"),
        ("verda", None, "list"),  # Verda publishes none: it stands beside the fake, from its own clients' sources
    ],
)
def test_each_answer_of_a_fake_is_held_to_what_its_vendor_has_published(
    vendor: str, document: str | None, route: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if document is not None and not (SPECS / document).is_file():
        pytest.skip(f"this test needs the vendor's document {document}")
    fake: VendorServer = request.getfixturevalue(f"{vendor}_api")

    async def main() -> None:
        session = await opened(vendor)
        assert await session.list_owned() == []
        assert not fake.problems
        monkeypatch.setattr(fake, route, lambda _: Reply(200, {"instances": 1, "pods": 2, "droplets": 3}))
        with contextlib.suppress(ProviderError):
            await session.list_owned()
        await session.close()

    asyncio.run(main())
    assert fake.problems, "an answer of another form was let through"
    assert all(": 200: " in each for each in fake.problems)
    fake.problems.clear()
