"""What a user may write, and where the key comes from."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.runpod import Fake

import skyward as sky
from skyward import AuthenticationFailed, ConfigurationError, Transient
from skyward.spi import PoolIdentity, Provider
from skyward_runpod import RunPod

KEY = "rpa_0123456789abcdefghijklmnopqrstuvwxyz"


def file(text: str) -> Path:
    """The vendor's file, with this in it."""
    path = Path("~/.runpod/config.toml").expanduser()
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_settings_are_values_with_the_vendors_address_and_cloud() -> None:
    settings = RunPod()
    assert (settings.endpoint, settings.cloud) == ("https://api.runpod.io", "secure")
    assert RunPod(data_centers=["EU-RO-1"]) == RunPod(data_centers="EU-RO-1") != settings
    assert {RunPod(), pickle.loads(pickle.dumps(settings))} == {settings}
    assert isinstance(settings, Provider)


def test_pods_have_a_private_network_where_it_was_asked_for() -> None:
    assert not RunPod().capabilities.private_network
    assert RunPod(global_networking=True).capabilities.private_network
    assert not RunPod().capabilities.spot


def test_the_address_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYWARD_RUNPOD_ENDPOINT", "https://runpod.example/")
    assert RunPod().endpoint == "https://runpod.example"
    assert RunPod(endpoint="http://127.0.0.1:8080").endpoint == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cloud": "private"}, "cloud must be 'secure', 'community' or 'any', not 'private'"),
        ({"data_centers": []}, "data_centers is empty: leave it out"),
        ({"data_centers": ["europe"]}, r"data_centers must be ids of data centres, not \['europe'\]: for example"),
        ({"data_centers": 5}, "data_centers must be ids"),
        ({"image": "an image"}, "image must be the name of an image, not 'an image': write for example"),
        ({"min_cuda": "12"}, "min_cuda must be a version of CUDA, not '12': write for example '12.4'"),
        ({"min_cuda": 12.4}, "min_cuda must be a version of CUDA, not 12.4"),
        ({"disk_gb": 0}, "disk_gb must be a number of GB from 1 to"),
        ({"disk_gb": True}, "disk_gb must be a number of GB"),
        ({"network_volume": "a b"}, "network_volume must be the id of a network volume, not 'a b'"),
        ({"mount_path": "data"}, "mount_path must be the path of a folder, not 'data'"),
        ({"registry": ""}, "registry must be the id of a login, not ''"),
        ({"global_networking": 1}, "global_networking must be True or False, not 1"),
        ({"profile": " "}, "profile must be the name of a profile, not ' '"),
        ({"endpoint": "api.runpod.io"}, "endpoint must be an address, not 'api.runpod.io': write for example 'https"),
        ({"endpoint": "https://[::1"}, "endpoint must be an address"),
        ({"endpoint": "https://key@api.runpod.io"}, "endpoint must be an address"),
        ({"endpoint": "http://api.runpod.io"}, "would have the key sent in the clear: write it with https://"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RunPod(**settings)


def test_spot_is_refused_before_anybody_is_asked(runpod_api: Fake) -> None:
    for allocation in ("spot", "always-spot", sky.Allocation.AlwaysSpot()):
        with pytest.raises(ConfigurationError, match="asks for spot machines, and RunPod sells none; leave it"):
            sky.ComputePool(RunPod(), allocation=allocation)
    assert runpod_api.asked() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"there is no key for RunPod, neither RUNPOD_API_KEY nor ~/.runpod/config.toml: make a key at https://"),
        ("[default]\n", r"has no api_key in a section \[default\]: make a key"),
        ("[work]\napi_key = 'k'\n", r"has no api_key in a section \[default\]: give profile='work', whose section has"),
        ("[default\napi_key = 'rpa_secret'", "cannot be read, since it is no TOML: make a key"),
        ("[default]\napi_key = 'two words'\n", r"what \[default\] of .* holds is no key, since it has spaces"),
    ],
)
async def test_without_a_key_it_says_what_to_set(
    text: str | None, said: str, runpod_api: Fake, monkeypatch: pytest.MonkeyPatch, identity: Any
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    if text is not None:
        file(text)
    with pytest.raises(AuthenticationFailed, match=said) as caught:
        await RunPod().open(identity())
    assert "rpa_secret" not in str(caught.value)
    assert runpod_api.asked() == []


async def test_the_key_is_that_of_the_variable_else_of_the_file_and_a_profile_goes_before_both(
    runpod_api: Fake, monkeypatch: pytest.MonkeyPatch, identity: Any
) -> None:
    async def used(settings: RunPod) -> str:
        session = await settings.open(identity())
        await session.close()
        header: str = runpod_api.asked()[-1].headers["authorization"]
        return header

    file(f"[default]\napi_key = '{runpod_api.pods['stranger1'].key}'\n[work]\napi_key = '{runpod_api.token}'\n")
    assert await used(RunPod()) == f"Bearer {runpod_api.token}"
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    assert await used(RunPod(profile="work")) == f"Bearer {runpod_api.token}"
    monkeypatch.delenv("RUNPOD_API_KEY")
    with pytest.raises(AuthenticationFailed, match=r"the key is that of \[default\] of ~/.runpod/config.toml"):
        await used(RunPod())  # a pod's own key, which may not look at others


async def test_a_refused_key_is_told_by_where_it_was_found_and_never_shown(
    runpod_api: Fake, monkeypatch: pytest.MonkeyPatch, identity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with pytest.raises(AuthenticationFailed, match="the key is that of RUNPOD_API_KEY: make a key at") as caught:
        await RunPod().open(identity())
    assert KEY not in repr(caught.value) + str(caught.value) + caplog.text


@pytest.mark.usefixtures("runpod_api", "hurry")
async def test_an_address_at_which_nobody_listens_is_named(identity: Callable[..., PoolIdentity]) -> None:
    with pytest.raises(Transient, match=r"RunPod could not be asked GET /v2/pods at http://127\.0\.0\.1:1"):
        await RunPod(endpoint="http://127.0.0.1:1").open(identity())
