"""A vendor's published limits are kept, and nobody waits longer than that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_server import Play, RestServer, served

from skyward._rest.pace import SLACK, Pacer
from skyward.errors import ConfigurationError, Transient
from skyward.spi import Pace, RestClient, bearer
from skyward.testing._hurry import HurriedClock, hurried

paces = st.builds(
    Pace,
    st.sampled_from(["*", "GET", "POST"]),
    st.sampled_from(["*", "/a", "/a/*"]),
    times=st.integers(1, 4),
    seconds=st.floats(0.5, 20),
)
requests = st.lists(
    st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from(["/a", "/a/1", "/b"]), st.floats(0, 5)), max_size=30
)


@given(limits=st.lists(paces, max_size=3), wanted=requests)
def test_no_span_of_time_has_more_requests_than_its_limit(
    limits: list[Pace], wanted: list[tuple[str, str, float]]
) -> None:
    pacer, now = Pacer(limits), 0.0
    sent: list[tuple[str, str, float]] = []
    for method, path, later in wanted:
        now += later
        while wait := pacer.take(method, path, now):
            assert wait > 0
            now += wait
        sent.append((method, path, now))
    for pace in limits:
        mine = [at for method, path, at in sent if pace.holds_for(method, path)]
        for first, beyond in zip(mine, mine[pace.times :], strict=False):
            assert beyond - first >= pace.seconds


@given(limits=st.lists(paces, max_size=3), wanted=requests)
def test_who_waits_does_so_for_a_limit_that_is_reached(
    limits: list[Pace], wanted: list[tuple[str, str, float]]
) -> None:
    pacer, now = Pacer(limits), 0.0
    sent: list[tuple[str, str, float]] = []
    for method, path, later in wanted:
        now += later
        if wait := pacer.take(method, path, now):
            binding = [
                pace
                for pace in limits
                if pace.holds_for(method, path)
                and sum(pace.holds_for(m, p) and at > now - pace.span - 1e-6 for m, p, at in sent) >= pace.times
            ]
            assert wait <= max(pace.span for pace in binding) + 1e-6
        else:
            sent.append((method, path, now))


def test_who_gives_up_waiting_has_taken_nothing() -> None:
    pacer = Pacer([Pace("*", "*", interval=4)])
    assert pacer.take("GET", "/", 0) == 0
    for _ in range(5):
        assert pacer.take("GET", "/", 1) == pytest.approx(3 + SLACK)
    assert pacer.take("GET", "/", 4 + SLACK) == 0


def test_a_request_that_no_limit_is_for_goes_out_at_once() -> None:
    pacer = Pacer([Pace("PUT", "/asks/*", interval=4.5)])
    assert [pacer.take(*each, 0) for each in (("PUT", "/asks/1"), ("GET", "/asks/1"), ("PUT", "/bids/1"))] == [0, 0, 0]
    assert pacer.take("PUT", "/asks/2", 0) > 4


def test_a_vendor_that_wants_to_be_left_alone_is() -> None:
    pacer = Pacer([Pace("GET", "*", times=100, seconds=1)])
    pacer.hold("GET", "/a", until=50)
    assert pacer.take("GET", "/b", 10) == 40
    assert pacer.take("PUT", "/b", 10) == 0
    assert pacer.take("GET", "/b", 50) == 0


@pytest.mark.parametrize(
    "limits", [{}, {"times": 3}, {"seconds": 1, "interval": 1}, {"times": 2, "interval": 1}], ids=str
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="no limit"):
        Pace("*", "*", **limits)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[RestServer]:
    with served(RestServer()) as running:
        yield running


@pytest.fixture
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


def test_all_clients_of_a_process_keep_a_vendors_pace_together(server: RestServer, clock: HurriedClock) -> None:
    limit = Pace("GET", "*", interval=4.5)

    async def main() -> None:
        clients = [RestClient("Moon", server.endpoint, authorize=bearer("token-1234"), paces=[limit]) for _ in range(3)]
        await asyncio.gather(*(client.ask("GET", "/moons") for client in clients))
        for client in clients:
            await client.aclose()

    before = clock.monotonic()
    asyncio.run(main())
    assert clock.monotonic() - before >= 9
    assert server.count("GET /moons") == 3


def test_a_turn_that_comes_too_late_is_handed_on_without_a_request(server: RestServer, clock: HurriedClock) -> None:
    limit = Pace("*", "*", times=1, seconds=3600)

    async def main() -> None:
        client = RestClient("Moon", server.endpoint, authorize=bearer("token-1234"), paces=[limit])
        await client.ask("GET", "/moons")
        with pytest.raises(Transient) as caught:
            await client.ask("GET", "/moons")
        await client.aclose()
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 3000

    asyncio.run(main())
    assert len(server.seen) == 1


def test_others_wait_too_when_the_vendor_has_had_too_many(server: RestServer, clock: HurriedClock) -> None:
    server.play("GET /a", Play(429, None, {"Retry-After": "500"}))

    async def main() -> None:
        client = RestClient(
            "Moon", server.endpoint, authorize=bearer("token-1234"), paces=[Pace("*", "*", times=9, seconds=1)]
        )
        for path in ("/a", "/b"):
            with pytest.raises(Transient):
                await client.ask("GET", path)
        await client.aclose()

    asyncio.run(main())
    assert [str(each) for each in server.seen] == ["GET /a"]
