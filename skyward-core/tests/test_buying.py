"""Strangers on the road: whom a pool waits for and how long, whose fault is named, and who serves instead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from road_fakes import FakeProvider, Hang, Journey, on_demand, spot, virtually

import skyward as sky
from skyward.errors import (
    AllProvidersFailedError,
    ConfigurationError,
    NoAvailableProviderError,
    PluginError,
    ProvisionTimeout,
    QuotaExceeded,
    Unavailable,
)
from skyward.model.allocation import Candidate, Tranche
from skyward.spi.provider import LaunchRequest

pytestmark = pytest.mark.usefixtures("own_ledgers")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes and functions of this module and of the fakes come from an installed distribution."""
    entries = [
        SimpleNamespace(module=module, dist=SimpleNamespace(name="skyward-acme", version="1.2"))
        for module in (__name__, "skyward.testing")
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: entries)


def bought(provider: FakeProvider) -> list[tuple[str, tuple[int, ...]]]:
    return [(order.offer.market, order.nodes) for order in provider.called("launch")]


# waiting for strangers


@pytest.mark.parametrize("selection", ["first", "cheapest", "available"])
@pytest.mark.parametrize("method", ["open", "offers"])
@virtually
async def test_one_that_hangs_costs_its_own_time_out_which_the_log_names(
    method: str, selection: str, caplog: pytest.LogCaptureFixture
) -> None:
    silent, sound = FakeProvider("Silent", script={method: [Hang]}), FakeProvider("Sound")
    journey = Journey(silent, sound, selection=selection)
    await journey.road.provision()
    assert 30 <= asyncio.get_running_loop().time() < 31
    assert f"Silent cannot be used: Silent did not answer to {method} within 30 s" in caplog.text
    assert len(sound.alive) == 1
    await journey.road.destroy()
    assert silent.open_sessions == 0


@virtually
async def test_a_launch_that_is_not_answered_turns_to_the_next_provider_and_not_to_another_offer_of_the_same() -> None:
    silent = FakeProvider("Silent", script={"launch": [Hang, Hang]})
    sound = FakeProvider("Sound")
    journey = Journey(silent, sound, nodes=2)
    await journey.road.provision()
    assert 300 <= asyncio.get_running_loop().time() < 310
    assert bought(silent) == [("spot", (0, 1))]
    assert len(sound.alive) == 2
    await journey.road.destroy()


@virtually
async def test_ends_and_closings_that_hang_are_limited_each() -> None:
    provider = FakeProvider(script={"terminate": [Hang], "close": [Hang], "transport.close": [Hang]})
    journey = Journey(provider)
    await journey.road.provision()
    begun = asyncio.get_running_loop().time()
    await journey.road.destroy()
    assert asyncio.get_running_loop().time() - begun < 70
    assert provider.alive == []


# plugins


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("method", ["open", "offers", "launch"])
@virtually
async def test_an_exception_of_a_plugin_is_told_with_distribution_and_version_and_the_others_serve(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broken, sound = FakeProvider("Broken", script={method: [KeyError("price")]}), FakeProvider("Sound")
    journey = Journey(broken, sound)
    await journey.road.provision()
    said = f"Broken failed in {method} with KeyError: 'price'; this is a bug of skyward-acme 1.2: please report it"
    assert said in caplog.text
    assert len(sound.alive) == 1
    await journey.road.destroy()


def broken(*_: object) -> Any:
    raise LookupError("no idea")


class Broken:
    name = "broken-strategy"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        raise LookupError("no idea")


class OneShort(Broken):
    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes - 1, candidates)]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"selection": broken}, "broken failed in select with LookupError: no idea"),
        ({"allocation": Broken()}, "broken-strategy failed in allocate with LookupError: no idea"),
        (
            {"allocation": OneShort()},
            "broken-strategy failed in allocate with tranches of 2 machine(s) where 3 are needed",
        ),
    ],
)
@virtually
async def test_a_choice_of_a_plugin_that_fails_is_its_bug_before_anything_is_bought(
    parameters: dict[str, Any], said: str, tmp_path: Path
) -> None:
    provider = FakeProvider()
    journey = Journey(provider, FakeProvider("Other"), nodes=3, **parameters)
    with pytest.raises(PluginError) as caught:
        await journey.road.provision()
    assert f"{said}; this is a bug of skyward-acme 1.2" in str(caught.value)
    assert provider.called("launch") == []
    assert list(journey.leftovers(tmp_path)) == []


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"selection": broken}, LookupError),
        ({"allocation": Broken()}, LookupError),
        ({"allocation": OneShort()}, ConfigurationError),
    ],
)
@virtually
async def test_a_choice_of_the_users_own_that_fails_is_told_as_it_is(
    parameters: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    provider = FakeProvider()
    journey = Journey(provider, nodes=3, **parameters)
    with pytest.raises(error):
        await journey.road.provision()
    assert provider.called("launch") == []
    assert list(journey.leftovers(tmp_path)) == []


def test_a_choice_that_never_returns_holds_up_neither_the_end_of_the_pool_nor_of_the_program() -> None:
    release = threading.Event()

    def stuck(providers: Any, spec: Any) -> Any:
        release.wait()
        return providers[0]

    pool = sky.ComputePool([sky.Local(), sky.Local()], selection=stuck, provision_timeout=0.2, display="quiet")
    try:
        with pytest.raises(ProvisionTimeout), pool:
            pass
        left = [thread for thread in threading.enumerate() if thread.name == "skyward-hook"]
        assert all(thread.daemon for thread in left)
    finally:
        release.set()


class Spread:
    """A machine from each offer in turn."""

    name = "spread"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        return [
            Tranche(len(range(index, nodes, len(candidates))), (each, *candidates))
            for index, each in enumerate(candidates)
        ]


@virtually
async def test_a_strategy_of_a_third_party_buys_from_several_providers_side_by_side() -> None:
    clouds = [FakeProvider(name, [on_demand(name)], script={"launch": [20.0]}) for name in "ABC"]
    journey = Journey(*clouds, nodes=5, allocation=Spread())
    await journey.road.provision()
    assert [len(cloud.alive) for cloud in clouds] == [2, 2, 1]
    assert 20 <= asyncio.get_running_loop().time() < 25
    launching = [event.provider for event in journey.events if isinstance(event, sky.InstanceLaunching)]
    assert launching == ["A", "B", "C"]
    await journey.road.destroy()


@virtually
async def test_a_plugins_named_selector_orders_all_providers_and_its_named_allocation_divides_the_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selectors = {"first": sky.select_first, "acme-last": lambda providers, spec: providers[-1]}
    allocations = {"spot-if-available": sky.Allocation.SpotIfAvailable(), "acme-spread": Spread()}
    monkeypatch.setattr("skyward._plugins.selector", selectors.__getitem__)
    monkeypatch.setattr("skyward._plugins.allocation", allocations.__getitem__)
    a, b, c = (FakeProvider(name, [on_demand(name)]) for name in "ABC")
    c.script("launch", Unavailable("full"))
    journey = Journey(a, b, c, nodes=3, selection="acme-last")
    await journey.road.provision()
    assert (len(a.alive), len(b.alive), len(c.called("launch"))) == (0, 3, 1), "b is the last but one"
    await journey.road.destroy()
    journey = Journey(a, b, c, nodes=3, allocation="acme-spread")
    await journey.road.provision()
    assert [len(cloud.alive) for cloud in (a, b, c)] == [1, 1, 1]
    await journey.road.destroy()


@virtually
async def test_orders_to_one_seller_are_given_one_after_the_other() -> None:
    provider = FakeProvider(script={"launch": [10.0, 10.0]})
    journey = Journey(provider, nodes=4, allocation=0.5)
    await journey.road.provision()
    assert 20 <= asyncio.get_running_loop().time() < 25
    names = [name for name in journey.names if name in ("InstanceLaunching", "InstanceLaunched")]
    assert names == [*["InstanceLaunching", *["InstanceLaunched"] * 2] * 2]
    assert bought(provider) == [("spot", (0, 1)), ("on-demand", (2, 3))]
    await journey.road.destroy()


@pytest.mark.parametrize(
    "wrong",
    [
        "no offer",
        on_demand(price=-1.0),
        on_demand(price=float("nan")),
        on_demand(on_demand_price=float("inf")),
        on_demand(billing_quantum=0),
        on_demand(capacity=-1),
    ],
)
@virtually
async def test_an_offer_that_cannot_be_is_a_bug_of_its_plugin_before_it_is_bought(
    wrong: object, tmp_path: Path
) -> None:
    provider = FakeProvider(script={"offers": [lambda _: [wrong]]})
    journey = Journey(provider)
    with pytest.raises(PluginError, match="failed in offers with"):
        await journey.road.provision()
    assert list(journey.leftovers(tmp_path)) == []


# what comes in parts


@virtually
async def test_the_rest_is_asked_for_again_of_an_offer_that_brought_a_part_and_never_more_than_the_rest() -> None:
    provider = FakeProvider("P", [on_demand("P")])

    def create(*places: int) -> Callable[[LaunchRequest], object]:
        return lambda request: provider.sessions[0].create(
            evolve(request, nodes=tuple(request.nodes[place] for place in places))
        )

    full = Unavailable("no space left")
    provider.script["launch"] = [create(1), full, create(0, 2), full, full]
    journey = Journey(provider, nodes=5)
    with pytest.raises(AllProvidersFailedError) as caught:
        await journey.road.provision()
    assert [nodes for _, nodes in bought(provider)] == [(0, 1, 2, 3, 4), *2 * [(0, 2, 3, 4)], *2 * [(2, 4)]]
    assert "2 of 5 machine(s) could not be had" in str(caught.value)
    assert "1 machine(s) of 5" in str(caught.value)
    assert str(caught.value).count("no space left") == 1
    assert len(provider.machines) == 3
    assert not provider.alive

    again = FakeProvider("P", [on_demand("P")])
    again.script["launch"] = [lambda request: again.sessions[0].create(evolve(request, nodes=(1,))), full]
    journey = Journey(again, nodes=2)
    await journey.road.provision()
    assert [nodes for _, nodes in bought(again)] == [(0, 1), (0,), (0,)]
    assert len(again.alive) == 2
    await journey.road.destroy()


# what each one answered


@virtually
async def test_when_all_fail_the_answer_of_every_provider_is_told_those_included_that_were_not_asked_to_launch(
    tmp_path: Path,
) -> None:
    no_quota = QuotaExceeded("0 of 8 GPUs are left", quota="gpus-a1", url="https://small.example/quotas/gpus-a1")
    journey = Journey(
        FakeProvider("Full", [spot("Full")], script={"launch": [Unavailable("no capacity in here-1")]}),
        FakeProvider("Small", [on_demand("Small")], script={"launch": [no_quota]}),
        FakeProvider("Shut", script={"open": [Unavailable("closed today")]}),
        FakeProvider("Empty", []),
        nodes=2,
    )
    with pytest.raises(AllProvidersFailedError) as caught:
        await journey.road.provision()
    for part in (
        "2 of 2 machine(s) could not be had",
        "Full small (spot, here-1): no capacity in here-1",
        "Small small (on-demand, here-1): over quota (gpus-a1): 0 of 8 GPUs are left; have it raised at https://small.ex",
        "Shut: closed today",
        "Empty: 0 fitting offer(s)",
    ):
        assert part in str(caught.value)
    assert list(journey.leftovers(tmp_path)) == []


@virtually
async def test_an_allocation_that_takes_nothing_of_what_fits_is_named(tmp_path: Path) -> None:
    class Never:
        name = "never"

        def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
            return [Tranche(nodes, ())]

    journey = Journey(FakeProvider("A"), allocation=Never())
    with pytest.raises(NoAvailableProviderError, match="the allocation 'never' takes too little of what fits"):
        await journey.road.provision()
    assert list(journey.leftovers(tmp_path)) == []


# the order of events


@virtually
async def test_the_events_of_a_pool_that_turns_to_other_offers_and_providers_come_in_their_order() -> None:
    first = FakeProvider("First", script={"launch": [Unavailable("x"), QuotaExceeded("y")]})
    second = FakeProvider("Second", [on_demand("Second", capacity=1), spot("Second", "large")])
    journey = Journey(first, second, nodes=2, allocation="cheapest")
    await journey.road.provision()
    assert journey.names[:9] == [
        "InfraCreating",
        "ClusterProvisioned",
        "InstanceLaunching",  # First, spot
        "InstanceLaunching",  # First, on demand
        "InstanceLaunching",
        "InstanceLaunched",
        "InstanceLaunched",
        "InstanceRunning",
        "InstanceProvisioned",
    ]
    counted = [(event.provider, event.count) for event in journey.events if isinstance(event, sky.InstanceLaunching)]
    assert counted == [("First", 2), ("First", 2), ("Second", 2)]
    assert journey.names.count("NodeReady") == 2
    assert journey.names[-1] == "ClusterReady"
    await journey.road.destroy()
