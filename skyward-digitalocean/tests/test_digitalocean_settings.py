"""The settings are a checked value, and the token comes from the environment."""

from __future__ import annotations

import asyncio
import pickle
import secrets
import time
from typing import Any

import pytest
from fakes.digitalocean import DigitalOceanServer

from skyward import AuthenticationFailed, ConfigurationError, Transient
from skyward.spi import PoolIdentity
from skyward_digitalocean import DigitalOcean

OVER = {"ratelimit-remaining": "0", "ratelimit-reset": "9999999999"}
TOKENS = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "SKYWARD_DIGITALOCEAN_ENDPOINT")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)


def opened(settings: DigitalOcean) -> None:
    """Open a session and close it."""
    identity = PoolIdentity(
        pool_id="p", owner="ada@lab", deadline=time.time() + 60, lease=None, token=secrets.token_bytes(16)
    )

    async def main() -> None:
        await (await settings.open(identity)).close()

    asyncio.run(main())


@pytest.mark.parametrize("region", ["nyc1", "nyc3", "sfo2", "sfo3", "ams3", "sgp1", "lon1", "fra1", "tor1", "atl1"])
def test_every_region_is_taken(region: str) -> None:
    assert DigitalOcean(region=region).region == region


def test_the_defaults_are_those_of_the_reference() -> None:
    assert (DigitalOcean().region, DigitalOcean().endpoint) == ("nyc1", "https://api.digitalocean.com")
    assert not DigitalOcean.capabilities.spot
    assert not DigitalOcean.capabilities.self_termination


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("region", "New York", "'nyc1', 'nyc3'"),
        ("region", None, "the slug of a region"),
        ("image", "../etc", "'ubuntu-24-04-x64'"),
        ("image", True, "not True"),
        ("image", 0, "not 0"),
        ("vpc", "default", "doctl vpcs list"),
        ("endpoint", "http://api.digitalocean.com", "begins with https://"),
        ("endpoint", "ftp://10.0.0.1", "begins with https://"),
        ("endpoint", 7, "begins with https://"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_with_the_remedy(setting: str, value: object, says: str) -> None:
    arguments: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigurationError, match=setting) as caught:
        DigitalOcean(**arguments)
    assert says in str(caught.value)


def test_settings_are_a_value_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", "dop_v1_secret")
    settings = DigitalOcean(region="fra1", image=7555620, endpoint="https://127.0.0.1:8443/")
    assert settings == pickle.loads(pickle.dumps(settings))
    assert hash(settings) == hash(DigitalOcean(region="fra1", image=7555620, endpoint="https://127.0.0.1:8443"))
    assert "secret" not in repr(settings)


def test_without_a_token_nobody_is_asked_and_the_variable_is_named() -> None:
    with pytest.raises(AuthenticationFailed, match=r"DIGITALOCEAN_TOKEN.*account/api/tokens"):
        opened(DigitalOcean())


@pytest.mark.parametrize("variable", TOKENS[:2])
def test_the_token_is_found_under_either_name(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as server:
        monkeypatch.setenv(variable, f" {server.token}\n")
        opened(DigitalOcean(endpoint=server.endpoint))
        assert [(each.path, each.status) for each in server.asked()] == [("/v2/account", 200)]


def test_the_first_name_goes_before_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as server:
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", server.token)
        monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "another")
        opened(DigitalOcean(endpoint=server.endpoint))


def test_the_endpoint_of_the_environment_holds_where_the_settings_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as here, DigitalOceanServer() as there:
        there.token = here.token
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", here.token)
        monkeypatch.setenv("SKYWARD_DIGITALOCEAN_ENDPOINT", here.endpoint)
        opened(DigitalOcean())
        opened(DigitalOcean(endpoint=there.endpoint))
        assert (len(here.requests), len(there.requests)) == (1, 1)
        monkeypatch.setenv("SKYWARD_DIGITALOCEAN_ENDPOINT", "http://api.example.com")
        with pytest.raises(ConfigurationError, match="SKYWARD_DIGITALOCEAN_ENDPOINT"):
            opened(DigitalOcean())


def test_a_token_that_is_refused_says_what_to_set_and_not_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as server:
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", "dop_v1_" + "0" * 64)
        with pytest.raises(AuthenticationFailed, match=r"Unable to authenticate you.*DIGITALOCEAN_TOKEN") as caught:
            opened(DigitalOcean(endpoint=server.endpoint))
        assert "dop_v1_" not in str(caught.value)


def test_a_locked_account_is_said_before_anything_is_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as server:
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", server.token)
        account = {
            "droplet_limit": 0,
            "floating_ip_limit": 0,
            "email": "ada@example.com",
            "uuid": "b6",
            "email_verified": True,
            "status": "locked",
            "status_message": "unpaid",
        }
        server.faults.fail("GET /v2/account", 200, body={"account": account})
        with pytest.raises(AuthenticationFailed, match=r"locked the account .unpaid.*DIGITALOCEAN_TOKEN"):
            opened(DigitalOcean(endpoint=server.endpoint))


def test_a_spent_limit_of_the_hour_says_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with DigitalOceanServer() as server:
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", server.token)
        server.faults.fail(
            "GET /v2/account", 429, headers={"ratelimit-remaining": "0", "ratelimit-reset": "9999999999"}
        )
        with pytest.raises(Transient, match="5000 times") as caught:
            opened(DigitalOcean(endpoint=server.endpoint))
        assert caught.value.retry_after == 3600.0
