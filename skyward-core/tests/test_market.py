"""Whom a pool buys from: what each provider's answer leads to, and in which order offers are tried."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from market_orders import bought, fail
from road_fakes import After, FakeProvider, Hang, Journey, on_demand, spot, virtually

import skyward as sky
from skyward._market import answered
from skyward.errors import (
    AllProvidersFailedError,
    AuthenticationFailed,
    ConfigurationError,
    NoAvailableProviderError,
    QuotaExceeded,
    Transient,
    Unavailable,
)
from skyward.spi import Capabilities

pytestmark = pytest.mark.usefixtures("own_ledgers")


# opening


@virtually
async def test_all_providers_are_asked_at_the_same_time() -> None:
    loop = asyncio.get_running_loop()
    slow = [FakeProvider(name, script={"open": [20.0]}) for name in "ABC"]
    journey = Journey(*slow)
    await journey.road.provision()
    assert loop.time() < 25
    await journey.road.destroy()


@virtually
async def test_machines_that_cannot_end_themselves_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    lasting = FakeProvider("Lasting", capabilities=Capabilities(spot=True, self_termination=False))
    journey = Journey(lasting, FakeProvider("Passing"), nodes=2)
    await journey.road.provision()
    lasting.lose(0)  # another one is bought there
    await journey.road.destroy()
    assert caplog.text.count("cannot end themselves") == 1
    assert "machines of Lasting cannot end themselves: if this process is killed, they cost" in caplog.text


@virtually
async def test_whoever_prefers_spot_is_told_of_a_provider_that_sells_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "skyward.market")
    firm = FakeProvider("Firm", offers=[on_demand(price=1.0)], capabilities=Capabilities(spot=False))
    for allocation, told in (("spot-if-available", 1), ("on-demand", 1)):
        journey = Journey(firm, FakeProvider("Fickle"), allocation=allocation)
        await journey.road.provision()
        await journey.road.destroy()
        assert caplog.text.count("sells no spot machines") == told
    assert "Firm sells no spot machines: what is bought there is bought on demand" in caplog.text


@pytest.mark.parametrize("method", ["open", "offers"])
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Hang, "did not answer to {method} within 30 s"),
        (Unavailable("sold out"), "sold out"),
        (KeyError("price"), "KeyError: 'price'; this is a bug of skyward-core 0."),
    ],
)
@virtually
async def test_a_provider_that_fails_or_hangs_costs_itself_only(
    method: str, entry: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    broken, sound = FakeProvider("Broken", script={method: [entry]}), FakeProvider("Sound")
    journey = Journey(broken, sound, nodes=2)
    await journey.road.provision()
    assert len(sound.alive) == 2
    assert "Broken cannot be used: " in caplog.text
    assert said.format(method=method) in caplog.text
    assert loop.time() < 31
    await journey.road.destroy()
    assert (broken.open_sessions, sound.open_sessions) == (0, 0)


@virtually
async def test_what_a_vendor_said_after_long_trials_is_told_in_place_of_its_silence() -> None:
    async def tried_long() -> None:
        await asyncio.sleep(20)
        raise Transient("Firm could not be asked (connection refused): see whether its address is right")

    firm = FakeProvider("Firm")
    with pytest.raises(Transient, match="connection refused"):
        await answered(firm.provider, "open", tried_long)


@pytest.mark.parametrize("method", ["open", "offers", "launch"])
@virtually
async def test_refused_credentials_stop_everything_at_once(method: str, tmp_path: Path) -> None:
    refused = AuthenticationFailed("the token was refused; set FAKE_TOKEN")
    locked, sound = FakeProvider("Locked", script={method: [refused]}), FakeProvider("Sound")
    error = await fail(Journey(locked, sound), tmp_path, AuthenticationFailed)
    assert error is refused
    assert sound.called("launch") == []


@virtually
async def test_a_single_provider_fails_with_its_own_error(tmp_path: Path) -> None:
    quota = QuotaExceeded("the account may have 0 GPUs")
    error = await fail(Journey(FakeProvider(script={"offers": [quota]})), tmp_path, QuotaExceeded)
    assert error is quota


@virtually
async def test_when_no_provider_can_be_used_the_error_lists_what_each_one_said(tmp_path: Path) -> None:
    journey = Journey(
        FakeProvider("A", script={"open": [Unavailable("closed today")]}), FakeProvider("B", script={"offers": [Hang]})
    )
    error = await fail(journey, tmp_path, NoAvailableProviderError)
    assert "A: closed today" in str(error)
    assert "B: B did not answer to offers within 30 s" in str(error)


@virtually
async def test_a_passing_failure_is_asked_again_after_the_time_that_the_provider_names() -> None:
    provider = FakeProvider(script={"offers": [Transient("slow down", retry_after=7.5), Transient("again")]})
    journey = Journey(provider)
    await journey.road.provision()
    assert len(provider.called("offers")) == 3
    assert 7.5 < asyncio.get_running_loop().time() < 20
    await journey.road.destroy()


# who comes first


@pytest.mark.parametrize(
    ("selection", "allocation", "first"),
    [
        ("first", "on-demand", "Dear"),
        ("cheapest", "on-demand", "Cheap"),
        ("cheapest", "spot", "Dear"),  # its spot price is the lower one
        ("available", "on-demand", "Dear"),
        (sky.select_first, "on-demand", "Dear"),
        (sky.select_cheapest, "spot", "Dear"),
        (sky.select_available, "on-demand", "Dear"),
        (lambda providers, spec: providers[1], "on-demand", "Cheap"),
        (lambda providers, spec: next(p for p in providers if p.has_spot_capacity(spec)), "spot", "Dear"),
    ],
)
@virtually
async def test_the_selection_says_who_comes_first(selection: Any, allocation: Any, first: str) -> None:
    dear = FakeProvider("Dear", [spot("Dear", price=0.1), on_demand("Dear", price=3.0)])
    cheap = FakeProvider("Cheap", [spot("Cheap", price=0.2), on_demand("Cheap", price=2.0)])
    journey = Journey(dear, cheap, selection=selection, allocation=allocation)
    await journey.road.provision()
    assert [provider.name for provider in (dear, cheap) if provider.alive] == [first]
    await journey.road.destroy()


@virtually
async def test_the_first_provider_with_offers_is_taken_by_available() -> None:
    empty, sound = FakeProvider("Empty", []), FakeProvider("Sound")
    journey = Journey(empty, sound, selection=sky.select_available)
    await journey.road.provision()
    assert sound.alive
    await journey.road.destroy()


@virtually
async def test_a_selection_that_returns_none_of_the_providers_is_refused(tmp_path: Path) -> None:
    def odd(providers: object, spec: object) -> str:
        return "AWS"

    error = await fail(Journey(FakeProvider(), selection=odd), tmp_path, ConfigurationError)
    assert "'odd' returned 'AWS'; return one of the providers" in str(error)


@virtually
async def test_what_a_selection_of_the_user_raises_arrives_as_itself(tmp_path: Path) -> None:
    def broken(providers: object, spec: object) -> None:
        raise LookupError("no idea")

    await fail(Journey(FakeProvider(), selection=broken), tmp_path, LookupError)


# what is bought


@pytest.mark.parametrize(
    ("allocation", "expected"),
    [
        ("spot-if-available", [("spot", 5)]),
        (sky.Allocation.SpotIfAvailable(), [("spot", 5)]),
        ("spot", [("spot", 5)]),
        ("always-spot", [("spot", 5)]),
        ("on-demand", [("on-demand", 5)]),
        (sky.Allocation.OnDemand, [("on-demand", 5)]),
        ("cheapest", [("spot", 5)]),
        (0.5, [("spot", 3), ("on-demand", 2)]),
        (sky.Allocation.Percent(spot=0.2), [("spot", 1), ("on-demand", 4)]),
        (0, [("on-demand", 5)]),
        (1.0, [("spot", 5)]),
    ],
)
@virtually
async def test_the_allocation_splits_the_machines_between_the_markets(
    allocation: Any, expected: list[tuple[str, int]]
) -> None:
    provider = FakeProvider()
    journey = Journey(provider, nodes=5, allocation=allocation)
    await journey.road.provision()
    assert [(market, len(nodes)) for _, market, nodes in bought(provider)] == expected
    assert sorted(machine.node for machine in provider.machines) == [0, 1, 2, 3, 4]
    await journey.road.destroy()


@virtually
async def test_what_spot_cannot_give_is_bought_on_demand_only_if_the_allocation_lets_it(tmp_path: Path) -> None:
    sold_out = {"launch": [Unavailable("no spot capacity")]}
    falls_back = FakeProvider(script=sold_out)
    journey = Journey(falls_back)
    await journey.road.provision()
    assert [market for _, market, _ in bought(falls_back)] == ["spot", "on-demand"]
    await journey.road.destroy()
    error = await fail(Journey(FakeProvider(script=sold_out), allocation="spot"), tmp_path, AllProvidersFailedError)
    assert "Fake small (spot, here-1): no spot capacity" in str(error)


@virtually
async def test_a_providers_own_offers_are_all_tried_before_the_next_provider() -> None:
    first = FakeProvider("First", script={"launch": [Unavailable("x"), QuotaExceeded("y")]})
    second = FakeProvider("Second")
    journey = Journey(first, second)
    await journey.road.provision()
    assert [market for _, market, _ in bought(first)] == ["spot", "on-demand"]
    assert [market for _, market, _ in bought(second)] == ["spot"]
    await journey.road.destroy()


@virtually
async def test_two_providers_with_equal_offers_are_not_taken_for_one_another() -> None:
    # The same name and the same offers: two accounts or regions of one provider.
    full = FakeProvider("Twin", script={"launch": [Unavailable("full"), Unavailable("full")]})
    free = FakeProvider("Twin")
    journey = Journey(full, free, nodes=2)
    await journey.road.provision()
    assert (len(full.alive), len(free.alive)) == (0, 2)
    await journey.road.destroy()
    assert (len(full.alive), len(free.alive)) == (0, 0)


@virtually
async def test_a_partial_launch_keeps_what_it_has_and_buys_the_rest() -> None:
    scarce = FakeProvider("S", [spot("S", capacity=2), spot("S", "none", capacity=0), on_demand("S")])
    journey = Journey(scarce, nodes=3)
    await journey.road.provision()
    assert bought(scarce) == [("small", "spot", (0, 1)), ("small", "on-demand", (2,))]
    assert sorted(journey.dispatcher.nodes) == [0, 1, 2]
    await journey.road.destroy()
    assert not scarce.alive


@virtually
async def test_fewer_machines_than_ordered_are_made_up_for_by_the_next_offer() -> None:
    provider = FakeProvider()
    provider.script["launch"] = [
        lambda request: provider.sessions[0].create(evolve(request, nodes=request.nodes[1:2])),
        lambda request: [],
    ]
    other = FakeProvider("Other")
    journey = Journey(provider, other, nodes=3)
    await journey.road.provision()
    assert bought(provider) == [("small", "spot", (0, 1, 2)), ("small", "on-demand", (0, 2))]
    assert bought(other) == [("small", "spot", (0, 2))]
    await journey.road.destroy()


@virtually
async def test_when_offers_run_out_everything_is_rolled_back_and_each_answer_told(tmp_path: Path) -> None:
    offers = [spot(capacity=2), on_demand()]
    provider = FakeProvider("A", offers, script={"launch": [None, QuotaExceeded("8 vCPUs at most")]})
    other = FakeProvider("B", [on_demand("B", capacity=0)])
    error = await fail(Journey(provider, other, nodes=4), tmp_path, AllProvidersFailedError)
    assert "2 of 4 machine(s) could not be had" in str(error)
    assert "(spot, here-1): 2 machine(s) of 4" in str(error)
    assert "(on-demand, here-1): over quota: 8 vCPUs at most" in str(error)
    assert "B small (on-demand, here-1): no capacity" in str(error)
    assert len(provider.machines) == 2


@virtually
async def test_nobody_offering_it_is_said_with_the_request_and_each_answer(tmp_path: Path) -> None:
    journey = Journey(FakeProvider("A"), FakeProvider("B", []), cpu=64, memory="1TB", accelerator="H100", nodes=2)
    error = await fail(journey, tmp_path, NoAvailableProviderError)
    for part in ("2 node(s)", "H100", "64 CPUs", "1000 GB", "A: 0 fitting offer(s), with fewer wishes no H100; B: 0 f"):
        assert part in str(error)


@virtually
async def test_what_there_is_at_most_is_told_where_nothing_fits(tmp_path: Path) -> None:
    sizes = [evolve(on_demand("A"), instance_type=f"m{size}", vcpu=size, memory_gb=2.5 * size) for size in (4, 16)]
    gpu = evolve(sizes[0], instance_type="g4", accelerator=sky.accelerators.T4())
    asked = FakeProvider("A", [*sizes, gpu])
    error = await fail(Journey(asked, cpu=64), tmp_path, NoAvailableProviderError)
    assert "(A: 0 fitting offer(s), with fewer wishes up to 16 CPUs, up to 40 GB, T4)" in str(error)
    large = evolve(sizes[1], instance_type="g16", accelerator=sky.accelerators.A100())
    asked = FakeProvider("A", [large, gpu])
    error = await fail(Journey(asked, accelerator="T4:64"), tmp_path, NoAvailableProviderError)
    assert "(A: 0 fitting offer(s), with fewer wishes up to 4 CPUs, up to 10 GB, T4)" in str(error)
    error = await fail(Journey(FakeProvider("A", sizes), machine="m32"), tmp_path, NoAvailableProviderError)
    assert "up to 40 GB, no accelerator, types m16 or m4)" in str(error)


@virtually
async def test_a_provider_that_does_not_say_what_it_has_at_most_changes_nothing(tmp_path: Path) -> None:
    silent = FakeProvider("A", [], script={"offers": [None, *[Unavailable("closed")] * 9]})
    error = await fail(Journey(silent, cpu=64), tmp_path, NoAvailableProviderError)
    assert "(A: 0 fitting offer(s))" in str(error)


@virtually
async def test_a_passing_failure_of_a_launch_is_tried_again_after_what_it_created_is_gone(tmp_path: Path) -> None:
    provider = FakeProvider(script={"launch": [After(Transient("connection reset")), Transient("busy")]})
    journey = Journey(provider, nodes=2)
    await journey.road.provision()
    assert (len(provider.machines), len(provider.alive)) == (4, 2)
    assert [market for _, market, _ in bought(provider)] == ["spot"] * 3
    await journey.road.destroy()
    assert list(journey.leftovers(tmp_path)) == []


# the identity


@pytest.mark.parametrize(("lease", "expected"), [("provider", 60.0), (5, 5.0), (None, None)])
@virtually
async def test_every_provider_is_told_the_pools_identity_and_a_token_that_nothing_shows(
    lease: Any, expected: float | None
) -> None:
    provider = FakeProvider()
    journey = Journey(provider, lease=lease, timeout=100)
    await journey.road.provision()
    identity = provider.called("open")[0]
    assert identity.pool_id == journey.road.pool_id
    assert identity.lease == expected == journey.road.lease
    assert identity.deadline == journey.road.deadline
    assert len(identity.token) >= 16
    assert identity.token.hex() not in repr(identity)
    assert repr(identity.token) not in repr(identity)
    await journey.road.destroy()
