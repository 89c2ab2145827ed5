"""What users write, that it costs nothing, and that what is wrong with an account is told before anything is rented."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from fakes.vastai import VastAIServer

from skyward import AuthenticationFailed, ConfigurationError, ProviderError, Transient
from skyward.spi import PoolIdentity
from skyward_vastai import VastAI


def test_settings_are_values() -> None:
    settings = VastAI(geolocation=["se", "NO", "SE"], reliability=0.99)
    assert settings == VastAI(geolocation=("SE", "NO"), reliability=0.99) != VastAI()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, VastAI(), VastAI(disk_gb=32)}) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("geolocation", "Sweden"),
        ("geolocation", ()),
        ("geolocation", 7),
        ("reliability", 1.5),
        ("reliability", None),
        ("reliability", float("nan")),
        ("verified", "yes"),
        ("datacenter", 1),
        ("cuda", "12.4"),
        ("max_price", 0),
        ("bid_margin", 0.9),
        ("image", ""),
        ("image", "two words"),
        ("disk_gb", 4),
        ("disk_gb", 10.5),
        ("disk_gb", True),
        ("endpoint", "console.vast.ai"),
        ("endpoint", "https://ada:secret@console.vast.ai"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        VastAI(**{name: value})  # type: ignore[arg-type]


def test_the_entry_point_leads_to_the_provider() -> None:
    [found] = [each for each in entry_points(group="skyward") if each.module == "skyward_vastai.plugin"]
    [descriptor] = found.load().skyward_providers()
    assert (descriptor.name, descriptor.settings) == ("VastAI", VastAI)


def test_the_plugin_loads_nothing_that_is_slow() -> None:
    code = "import skyward_vastai.plugin, sys; print({'httpx', 'cattrs', 'asyncssh', 'asyncio'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


def opened(settings: VastAI, who: PoolIdentity) -> None:
    async def main() -> None:
        await (await settings.open(who)).close()

    asyncio.run(main())


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAST_API_KEY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("where", ["VAST_API_KEY", "XDG_CONFIG_HOME", ".config/vastai", "~"])
def test_the_key_is_found_where_the_vendors_own_client_finds_it(
    where: str,
    vastai_api: VastAIServer,
    homeless: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: Callable[..., PoolIdentity],
) -> None:
    places = {
        "XDG_CONFIG_HOME": homeless / "xdg/vastai/vast_api_key",
        ".config/vastai": homeless / ".config/vastai/vast_api_key",
        "~": homeless / ".vast_api_key",
    }
    if where in places:
        places[where].parent.mkdir(parents=True, exist_ok=True)
        places[where].write_text(f"{vastai_api.key}\n")
        if where == "XDG_CONFIG_HOME":
            monkeypatch.setenv(where, str(homeless / "xdg"))
    else:
        (homeless / ".vast_api_key").write_text("an old one")
        monkeypatch.setenv(where, vastai_api.key)
    opened(VastAI(), identity())
    assert [each.status for each in vastai_api.requests] == [200]


def test_a_missing_key_is_told_with_the_variable_to_set(
    vastai_api: VastAIServer, homeless: Path, identity: Callable[..., PoolIdentity]
) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        opened(VastAI(), identity())
    said = str(caught.value)
    assert "set VAST_API_KEY" in said
    assert str(homeless / ".config/vastai/vast_api_key") in said
    assert not vastai_api.requests


def test_a_key_file_that_cannot_be_read_is_named(
    vastai_api: VastAIServer, homeless: Path, identity: Callable[..., PoolIdentity]
) -> None:
    (homeless / ".vast_api_key").mkdir()
    with pytest.raises(AuthenticationFailed, match=r"\.vast_api_key cannot be read"):
        opened(VastAI(), identity())


def test_a_refused_key_is_told_and_not_shown(
    vastai_api: VastAIServer, monkeypatch: pytest.MonkeyPatch, identity: Callable[..., PoolIdentity]
) -> None:
    monkeypatch.setenv("VAST_API_KEY", "not-this-one-4711")
    with pytest.raises(AuthenticationFailed) as caught:
        opened(VastAI(), identity())
    assert "set VAST_API_KEY" in str(caught.value)
    assert "not-this-one-4711" not in repr(caught.value)


def test_an_address_where_nobody_listens_is_told(
    vastai_api: VastAIServer, hurry: Any, identity: Callable[..., PoolIdentity]
) -> None:
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9\b"):
        opened(VastAI(endpoint="http://127.0.0.1:9"), identity())
    assert not vastai_api.requests, "the setting goes before the variable"


def test_the_doctor_tells_of_the_key_the_credit_and_the_market(vastai_api: VastAIServer) -> None:
    def levels(settings: VastAI) -> dict[str, str]:
        return {each.subject: each.level for each in asyncio.run(settings.check())}

    assert levels(VastAI()) == {"credentials": "ok", "credit": "ok", "market": "ok"}
    vastai_api.credit = 0.0
    found = asyncio.run(VastAI(geolocation=("AQ",)).check())
    assert [each.level for each in found] == ["ok", "problem", "warning"]
    assert "https://cloud.vast.ai/billing/" in found[1].remedy
    assert all(each.remedy for each in found[1:])
    assert not vastai_api.ours


def test_the_doctor_goes_on_where_a_search_is_refused(vastai_api: VastAIServer) -> None:
    quota = {"error": "search_quota_exceeded", "msg": "Search quota exceeded"}
    vastai_api.faults.fail("POST /api/v0/bundles", 429, body=quota)
    *_, market = asyncio.run(VastAI().check())
    assert (market.subject, market.level) == ("market", "problem")
    vastai_api.faults.fail("GET /api/v0/users/current", 401)
    with pytest.raises(ProviderError):
        asyncio.run(VastAI().check())
