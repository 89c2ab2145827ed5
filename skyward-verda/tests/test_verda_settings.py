"""What users write, that it costs nothing, and what ``skyward doctor`` says of it."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from fakes.verda import Fake

from skyward import AuthenticationFailed, ConfigurationError, Unavailable
from skyward.spi import Finding
from skyward_verda import Verda


def test_settings_are_values() -> None:
    settings = Verda(region="FIN-03", disk_gb=100)
    assert settings == Verda(disk_gb=100, region="FIN-03") != Verda()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, Verda(), Verda(region="ICE-01")}) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", ""),
        ("region", "FIN 03"),
        ("region", 3),
        ("image", "ubuntu 24.04"),
        ("image", 24),
        ("disk_gb", 49),
        ("disk_gb", "64"),
        ("disk_gb", True),
        ("profile", " "),
        ("endpoint", "api.verda.com"),
        ("endpoint", "ftp://api.verda.com/v1"),
        ("endpoint", "https://[api/v1"),
        ("endpoint", None),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Verda(**{name: value})  # type: ignore[arg-type]


def test_an_endpoint_with_credentials_is_refused_without_showing_them() -> None:
    with pytest.raises(ConfigurationError, match="VERDA_CLIENT_ID") as caught:
        Verda(endpoint="https://ada:geheim-wort@api.verda.com/v1")
    assert "geheim" not in str(caught.value)


def test_the_endpoint_is_verdas_own_unless_the_variable_or_the_user_names_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SKYWARD_VERDA_ENDPOINT", raising=False)
    assert Verda().endpoint == "https://api.verda.com/v1"
    monkeypatch.setenv("SKYWARD_VERDA_ENDPOINT", "https://proxy.lab/verda")
    assert Verda().endpoint == "https://proxy.lab/verda"
    assert Verda(endpoint="https://other.lab/v1").endpoint == "https://other.lab/v1"


def test_an_endpoint_far_away_is_not_sent_credentials_in_the_clear(verda_api: Fake, opened: Any) -> None:
    async def main() -> None:
        async with opened(endpoint="http://192.0.2.7.example.com/v1"):
            raise AssertionError

    with pytest.raises(ConfigurationError, match="in the clear"):
        asyncio.run(main())


def test_the_entry_point_leads_to_the_provider() -> None:
    [found] = [each for each in entry_points(group="skyward") if each.module == "skyward_verda.plugin"]
    [descriptor] = found.load().skyward_providers()
    assert (descriptor.name, descriptor.settings) == ("Verda", Verda)


def test_the_plugin_loads_nothing_that_is_slow() -> None:
    code = "import skyward_verda.plugin, sys; print({'httpx', 'cattrs', 'asyncssh', 'asyncio'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


def test_a_location_that_does_not_exist_is_told_with_those_that_do(verda_api: Fake, opened: Any) -> None:
    async def main() -> None:
        async with opened(region="us-east"):
            raise AssertionError

    with pytest.raises(Unavailable, match=r"no location 'us-east', but FIN-01, FIN-03, ICE-01"):
        asyncio.run(main())


# ---- skyward doctor


def found(settings: Verda) -> dict[str, Finding]:
    return {finding.subject: finding for finding in asyncio.run(settings.check())}


def test_the_doctor_finds_a_sound_account_sound_and_makes_nothing(verda_api: Fake) -> None:
    findings = found(Verda(region="fin-03"))
    assert {each.level for each in findings.values()} == {"ok"}
    assert findings.keys() == {"credentials", "region", "balance", "capacity"}
    assert {seen.method for seen in verda_api.asked() if "oauth2" not in seen.path} == {"GET"}


def test_the_doctor_tells_what_is_amiss_with_what_to_do(verda_api: Fake) -> None:
    verda_api.balance = 0.0
    verda_api.market.on_demand.clear()
    verda_api.market.spot.clear()
    findings = found(Verda(region="us-east"))
    assert {name: each.level for name, each in findings.items()} == {
        "credentials": "ok",
        "region": "problem",
        "balance": "problem",
        "capacity": "warning",
    }
    assert all(each.remedy for each in findings.values() if each.level != "ok")


def test_one_thing_that_cannot_be_looked_at_does_not_hide_the_others(verda_api: Fake) -> None:
    verda_api.faults.fail("GET /v1/balance", 403)
    findings = found(Verda())
    assert findings["balance"].level == "warning"
    assert findings["balance"].remedy
    assert findings["capacity"].level == "ok"


def test_the_doctor_without_credentials_says_what_to_set(verda_api: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERDA_CLIENT_ID")
    monkeypatch.delenv("VERDA_CLIENT_SECRET")
    with pytest.raises(AuthenticationFailed, match="set VERDA_CLIENT_ID and VERDA_CLIENT_SECRET"):
        asyncio.run(Verda().check())
    assert not verda_api.asked()
