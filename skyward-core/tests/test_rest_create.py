"""Creating: once, whatever the answer; what an unclear answer has made is found."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from attrs import frozen
from rest_server import CUT, Play, RestServer, Seen, served

from skyward.errors import (
    AuthenticationFailed,
    ProviderError,
    QuotaExceeded,
    SkywardError,
    Transient,
    Unavailable,
)
from skyward.spi import RestClient, bearer
from skyward.testing._hurry import HurriedClock, hurried


@frozen
class Moon:
    name: str


class Moons(RestServer):
    """Makes moons, and tells their names."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.hidden = 0
        """So many lists do not have them yet."""

    def reply(self, seen: Seen) -> tuple[int, object]:
        if seen.method == "POST":
            self.made.append(seen.body["name"])
            return 201, {"name": seen.body["name"]}
        self.hidden -= 1
        return 200, [] if self.hidden >= 0 else [{"name": name} for name in self.made]

    @property
    def creates(self) -> int:
        return self.count("POST /moons")


@pytest.fixture
def moons() -> Iterator[Moons]:
    with served(Moons()) as running:
        yield running


@pytest.fixture(autouse=True)
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


async def order(client: RestClient, name: str = "io") -> Moon:
    async def find() -> Moon | None:
        listed = await client.ask("GET", "/moons", into=list[Moon])
        return next((each for each in listed if each.name == name), None)

    return await client.create("POST", "/moons", body={"name": name}, into=Moon, find=find)


def ordered(
    moons: RestServer, question: Callable[[RestClient], Coroutine[Any, Any, Moon]] = order, **more: Any
) -> Moon:
    async def main() -> Moon:
        client = RestClient("Moon", moons.endpoint, authorize=bearer("token-1234"), **more)
        try:
            return await question(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def refused(moons: RestServer, **more: Any) -> SkywardError:
    with pytest.raises(SkywardError) as caught:
        ordered(moons, **more)
    return caught.value


UNCLEAR = [
    Play(CUT),
    Play(500),
    Play(502, "<title>bad gateway</title>"),
    Play(503),
    Play(504),
    Play(408),
    Play(201, "not what was expected"),
    Play(201, {"other": "shape"}),
    Play(200),
]


def named(play: Play) -> str:
    return f"{play.status}-{type(play.body).__name__}"


def test_a_clear_answer_is_taken_and_nothing_is_looked_for(moons: Moons) -> None:
    assert ordered(moons) == Moon("io")
    assert [str(each) for each in moons.seen] == ["POST /moons"]


@pytest.mark.parametrize("play", UNCLEAR, ids=named)
def test_what_an_unclear_answer_has_made_is_found(moons: Moons, play: Play) -> None:
    moons.play("POST /moons", Play(play.status, play.body, effect=True))
    moons.hidden = 3
    assert ordered(moons) == Moon("io")
    assert moons.made == ["io"]
    assert moons.creates == 1


@pytest.mark.parametrize("play", UNCLEAR, ids=named)
def test_an_unclear_answer_that_has_made_nothing_is_told_and_not_repeated(
    moons: Moons, clock: HurriedClock, play: Play
) -> None:
    moons.play("POST /moons", play)
    before = clock.monotonic()
    error = refused(moons)
    assert isinstance(error, Transient)
    assert "POST /moons" in str(error)
    assert "it was looked for" in str(error)
    assert moons.creates == 1
    assert moons.count("GET /moons") >= 3
    assert 8 < clock.monotonic() - before < 30


def test_an_answer_that_comes_too_late_counts_as_unclear(moons: Moons) -> None:
    over = threading.Event()
    moons.play("POST /moons", Play(201, {"name": "io"}, effect=True, until=over))
    try:
        assert ordered(moons, timeout=0.5) == Moon("io")
    finally:
        over.set()
    assert moons.creates == 1


def test_a_look_that_fails_is_not_the_last_one(moons: Moons) -> None:
    moons.play("POST /moons", Play(CUT, effect=True))
    moons.play("GET /moons", Play(403), Play(400))
    assert ordered(moons) == Moon("io")


def test_it_is_told_when_nobody_could_look(moons: Moons) -> None:
    moons.play("POST /moons", Play(CUT, effect=True))
    moons.play("GET /moons", *[Play(403, "the door is shut")] * 10)
    error = refused(moons)
    assert isinstance(error, Transient)
    assert "the last look failed" in str(error)
    assert "the door is shut" in str(error)
    assert moons.creates == 1


def test_another_ones_thing_is_not_taken_for_it(moons: Moons) -> None:
    moons.made.append("europa")
    moons.play("POST /moons", Play(CUT))
    assert isinstance(refused(moons), Transient)


def test_one_request_too_many_may_be_repeated(moons: Moons, clock: HurriedClock) -> None:
    moons.play("POST /moons", Play(429, None, {"Retry-After": "7"}), Play(429))
    before = clock.monotonic()
    assert ordered(moons) == Moon("io")
    assert clock.monotonic() - before >= 7
    assert moons.made == ["io"]
    assert moons.creates == 3
    assert not moons.count("GET /moons")


def test_a_pause_that_is_too_long_is_handed_on(moons: Moons) -> None:
    moons.play("POST /moons", Play(429, None, {"Retry-After": "600"}))
    error = refused(moons)
    assert isinstance(error, Transient)
    assert error.retry_after == 600
    assert moons.creates == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ProviderError), (401, AuthenticationFailed), (402, QuotaExceeded), (404, Unavailable), (409, ProviderError)],
)
def test_a_refusal_is_certain(moons: Moons, status: int, kind: type[ProviderError]) -> None:
    moons.play("POST /moons", Play(status))
    assert type(refused(moons)) is kind
    assert [str(each) for each in moons.seen] == ["POST /moons"]


@pytest.mark.parametrize("kind", [Unavailable, QuotaExceeded, AuthenticationFailed])
def test_a_server_error_that_the_vendor_reads_as_a_refusal_is_certain(moons: Moons, kind: type[ProviderError]) -> None:
    moons.play("POST /moons", Play(503))
    error = refused(moons, explain=lambda answer: kind("full") if answer.status == 503 else None)
    assert type(error) is kind
    assert not moons.count("GET /moons")


@pytest.mark.parametrize("kind", [ProviderError, Transient])
def test_another_reading_of_a_server_error_leaves_it_open_whether_something_was_made(
    moons: Moons, kind: type[ProviderError]
) -> None:
    moons.play("POST /moons", Play(500, effect=True))
    found = ordered(moons, explain=lambda answer: kind("something went wrong") if answer.status == 500 else None)
    assert found == Moon("io")
    assert moons.creates == 1


def test_a_success_that_the_vendor_reads_as_a_refusal_is_one(moons: Moons) -> None:
    moons.play("POST /moons", Play(200, {"success": False}))
    error = refused(moons, explain=lambda answer: Unavailable("sold") if answer.status == 200 else None)
    assert isinstance(error, Unavailable)
    assert not moons.count("GET /moons")


def test_where_nothing_was_sent_nothing_is_looked_for(moons: Moons) -> None:
    with served(RestServer()) as gone:
        pass

    async def question(client: RestClient) -> Moon:
        async def find() -> Moon | None:
            raise AssertionError("nothing can have been made")

        return await client.create("POST", "/moons", body={}, into=Moon, find=find)

    with pytest.raises(Transient, match="could not be asked POST /moons"):
        ordered(gone, question)


def test_a_connection_that_comes_about_later_is_used(moons: Moons, clock: HurriedClock) -> None:
    """As of a laptop that has just woken up."""
    tries = 0
    reached = moons.endpoint

    async def question(client: RestClient) -> Moon:
        transfer: Any = client._attempts.transfer

        async def sleep(seconds: float) -> None:
            nonlocal tries
            tries += 1
            transfer._endpoint = reached
            await clock.sleep(seconds)

        client.waits.sleep = sleep
        transfer._endpoint = "http://127.0.0.1:9"
        return await order(client)

    assert ordered(moons, question) == Moon("io")
    assert tries == 1
    assert moons.creates == 1


def test_a_cancellation_between_order_and_answer_orders_no_second_time(moons: Moons) -> None:
    over = threading.Event()
    moons.play("POST /moons", Play(201, {"name": "io"}, effect=True, until=over))

    async def question(client: RestClient) -> Moon:
        ordering = asyncio.ensure_future(order(client))
        await asyncio.to_thread(moons.arrived.wait, 60)
        ordering.cancel()
        try:
            return await ordering
        finally:
            over.set()

    with pytest.raises(asyncio.CancelledError):
        ordered(moons, question)
    assert moons.creates == 1
    assert not moons.count("GET /moons")
