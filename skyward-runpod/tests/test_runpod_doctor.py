"""What ``skyward doctor`` is told, without anything being created."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.runpod import Fake

from skyward import AuthenticationFailed
from skyward.spi import Checkable, Finding
from skyward_runpod import RunPod


async def found(**settings: Any) -> dict[str, Finding]:
    return {each.subject: each for each in await RunPod(**settings).check()}


async def test_all_is_well(runpod_api: Fake) -> None:
    told = await found()
    assert isinstance(RunPod(), Checkable)
    assert {name: each.level for name, each in told.items()} == {"credentials": "ok", "stock": "ok"}
    assert told["credentials"].detail == "the key of RUNPOD_API_KEY"
    assert told["stock"].detail == "2 kinds of GPUs, among them A100-SXM-80GB, RTX-4090"
    assert {each.method for each in runpod_api.requests} == {"GET"}


@pytest.mark.usefixtures("runpod_api")
@pytest.mark.parametrize(
    ("settings", "subject", "detail", "remedy"),
    [
        (
            {"data_centers": "EU-XX-9"},
            "data centres",
            "RunPod has no EU-XX-9",
            "choose from CA-MTL-1, EU-RO-1, US-KS-2",
        ),
        (
            {"data_centers": "US-KS-2", "global_networking": True},
            "data centres",
            "none of them has private addresses",
            "choose from CA-MTL-1, EU-RO-1, or leave global_networking out",
        ),
        ({"network_volume": "none"}, "network volume", "the account has no none", "give the id that https://console."),
        (
            {"network_volume": "agv6w2qcg7", "data_centers": "US-KS-2"},
            "network volume",
            "data, in EU-RO-1, where no pod may be",
            "give data_centers='EU-RO-1'",
        ),
    ],
)
async def test_what_is_wrong_comes_with_what_to_do(
    settings: dict[str, Any], subject: str, detail: str, remedy: str
) -> None:
    told = (await found(**settings))[subject]
    assert (told.level, told.detail) == ("problem", detail)
    assert told.remedy.startswith(remedy)


@pytest.mark.usefixtures("runpod_api")
async def test_settings_that_fit_are_told_as_they_are() -> None:
    told = await found(network_volume="agv6w2qcg7", data_centers="EU-RO-1", global_networking=True)
    assert {each.level for each in told.values()} == {"ok"}
    assert told["data centres"].detail == "EU-RO-1"
    assert told["network volume"].detail == "data, in EU-RO-1"


async def test_an_empty_market_is_a_warning(runpod_api: Fake) -> None:
    for gpu in runpod_api.gpus.values():
        gpu.stock.clear()
    assert (await found())["stock"].level == "warning"


async def test_what_fails_is_a_finding_of_its_own(runpod_api: Fake) -> None:
    runpod_api.faults.fail("GET /v2/catalog/*", 404, times=10)
    told = await found(data_centers="EU-RO-1")
    assert {name: each.level for name, each in told.items()} == {
        "credentials": "ok",
        "data centres": "problem",
        "stock": "problem",
    }
    assert all(each.remedy for each in told.values() if each.level == "problem")


async def test_a_refused_key_is_all_that_there_is_to_say(runpod_api: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_unknown")
    with pytest.raises(AuthenticationFailed, match="RUNPOD_API_KEY"):
        await found()
    assert len(runpod_api.requests) == 1
