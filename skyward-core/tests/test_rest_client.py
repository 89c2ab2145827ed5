"""What a vendor is asked: repeated as long as it helps, understood, and without telling who asks."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import pickle
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import pytest
from attrs import frozen
from rest_server import CUT, Play, RestServer, served

from skyward.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    QuotaExceeded,
    SkywardError,
    Transient,
    Unavailable,
)
from skyward.spi import Answer, RestClient, bearer
from skyward.testing._hurry import HurriedClock, hurried

TOKEN = "moon-token-5ecret-0815"


@frozen
class Moon:
    id: str
    max_count: int = 0
    price: float | None = None


@pytest.fixture
def server() -> Iterator[RestServer]:
    with served(RestServer()) as running:
        yield running


@pytest.fixture
def clock() -> Iterator[HurriedClock]:
    with hurried() as running:
        yield running


def asked[T](server: RestServer, question: Callable[[RestClient], Coroutine[Any, Any, T]], **more: Any) -> T:
    """Ask by a client of its own, on a loop of its own."""

    async def main() -> T:
        client = RestClient("Moon", server.endpoint, **{"authorize": bearer(TOKEN), **more})
        try:
            return await question(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def refused(
    server: RestServer, question: Callable[[RestClient], Coroutine[Any, Any, object]], **more: Any
) -> SkywardError:
    with pytest.raises(SkywardError) as caught:
        asked(server, question, **more)
    return caught.value


async def get(client: RestClient) -> Any:
    return await client.ask("GET", "/moons")


# ---- answers


def test_an_answer_becomes_a_value_whatever_else_it_has(server: RestServer) -> None:
    server.play("GET /moons", Play(200, [{"id": 7, "maxCount": "3", "price": None, "news": {"a": 1}}]))
    found = asked(server, lambda client: client.ask("GET", "/moons", into=list[Moon]))
    assert found == [Moon(id="7", max_count=3)]


def test_an_answer_without_what_is_needed_is_told_by_the_field_and_not_by_its_content(server: RestServer) -> None:
    server.play("GET /moons", Play(200, [{"id": "a"}, {"name": "private matters"}]))
    error = refused(server, lambda client: client.ask("GET", "/moons", into=list[Moon]))
    assert type(error) is ProviderError
    assert "GET /moons" in str(error)
    assert "id is missing @ $[1].id" in str(error)
    assert "private" not in str(error)


def test_the_whole_answer_can_be_had(server: RestServer) -> None:
    server.play("GET /moons", Play(200, "plain words", {"X-Left": "3"}))
    answer = asked(server, lambda client: client.ask("GET", "/moons", into=Answer))
    assert (answer.status, answer.body, answer.headers["x-left"]) == (200, "plain words", "3")
    assert "plain words" not in repr(answer)


def test_nothing_is_an_answer(server: RestServer) -> None:
    server.play("DELETE /moons/1", Play(204))
    assert asked(server, lambda client: client.ask("DELETE", "/moons/1")) is None


def test_what_is_absent_can_be_a_value(server: RestServer) -> None:
    server.play("GET /moons/1", Play(404, {"detail": "no such moon"}), Play(404, {"detail": "no such moon"}))
    assert asked(server, lambda client: client.ask("GET", "/moons/1", into=Moon, absent=None)) is None
    error = refused(server, lambda client: client.ask("GET", "/moons/1"))
    assert isinstance(error, Unavailable)
    assert "no such moon" in str(error)


def test_the_query_is_without_what_is_none_and_not_in_messages(server: RestServer) -> None:
    server.play("GET /moons", Play(400, {"detail": "odd"}))
    error = refused(server, lambda client: client.ask("GET", "/moons", params={"near": "private", "far": None}))
    assert server.seen[0].query == {"near": "private"}
    assert "private" not in str(error)


# ---- pages


def test_pages_are_asked_for_until_there_are_no_more(server: RestServer) -> None:
    server.play("GET /moons", Play(200, {"moons": [1, 2], "next": "b"}), Play(200, {"moons": [3], "next": None}))
    found = asked(
        server,
        lambda client: client.pages(
            "/moons",
            params={"limit": 2},
            items=lambda page: page["moons"],
            next=lambda page: {"after": page["next"]} if page["next"] else None,
        ),
    )
    assert found == [1, 2, 3]
    assert [each.query for each in server.seen] == [{"limit": "2"}, {"limit": "2", "after": "b"}]


def test_pages_that_lead_in_a_circle_end_in_an_error(server: RestServer) -> None:
    pages = [Play(200, {"moons": [], "next": name}) for name in "aba"]
    server.play("GET /moons", *pages)
    error = refused(
        server,
        lambda client: client.pages(
            "/moons", items=lambda page: page["moons"], next=lambda page: {"after": page["next"]}
        ),
    )
    assert "pages that do not end" in str(error)


def test_a_page_without_its_items_is_the_vendors_fault(server: RestServer) -> None:
    server.play("GET /moons", Play(200, {"stars": []}))
    error = refused(
        server, lambda client: client.pages("/moons", items=lambda page: page["moons"], next=lambda _: None)
    )
    assert type(error) is ProviderError
    assert "GET /moons" in str(error)


# ---- again, or not


@pytest.mark.parametrize(
    "failure",
    [Play(CUT), Play(500), Play(502, "<html><title>Bad gateway</title></html>"), Play(503), Play(429), Play(408)],
    ids=lambda play: str(play.status),
)
@pytest.mark.usefixtures("clock")
def test_a_question_is_asked_again_after_a_passing_failure(server: RestServer, failure: Play) -> None:
    server.play("GET /moons", failure, failure)
    assert asked(server, get) == {"path": "/moons"}
    assert server.count("GET /moons") == 3


@pytest.mark.usefixtures("clock")
def test_a_question_without_an_answer_in_time_is_asked_again(server: RestServer) -> None:
    over = threading.Event()
    server.play("GET /moons", Play(200, "late", until=over))
    try:
        # The second attempt has as little time, and all of it.
        assert asked(server, get, timeout=0.5) == {"path": "/moons"}
    finally:
        over.set()


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 410, 422, 501])
def test_a_refusal_is_told_at_once(server: RestServer, status: int) -> None:
    server.play("GET /moons", Play(status, {"error": {"message": "the moon is full"}}))
    error = refused(server, get)
    kinds: dict[int, type[ProviderError]] = {
        401: AuthenticationFailed,
        403: AuthenticationFailed,
        402: QuotaExceeded,
        404: Unavailable,
        410: Unavailable,
    }
    assert type(error) is kinds.get(status, ProviderError)
    assert "Moon" in str(error)
    assert "GET /moons" in str(error)
    assert "the moon is full" in str(error)
    assert len(server.seen) == 1


def test_failures_that_stay_are_told_as_passing_ones(server: RestServer, clock: HurriedClock) -> None:
    server.play("GET /moons", *[Play(503, "eclipse")] * 100)
    before = clock.monotonic()
    error = refused(server, get, patience=30)
    assert isinstance(error, Transient)
    assert "eclipse" in str(error)
    assert 20 < clock.monotonic() - before < 60
    assert 4 < len(server.seen) < 20


def test_the_vendors_pause_is_kept_in_seconds(server: RestServer, clock: HurriedClock) -> None:
    server.play("GET /moons", Play(429, None, {"Retry-After": "17"}))
    before = clock.monotonic()
    assert asked(server, get)
    assert clock.monotonic() - before >= 17


def test_the_vendors_pause_is_kept_as_a_date_by_the_vendors_own_clock(server: RestServer, clock: HurriedClock) -> None:
    told = {"Date": email.utils.formatdate(1000, usegmt=True), "Retry-After": email.utils.formatdate(1019, usegmt=True)}
    server.play("GET /moons", Play(503, None, told))
    before = clock.monotonic()
    assert asked(server, get)
    assert 19 <= clock.monotonic() - before < 30


def test_a_pause_that_is_too_long_is_handed_on(server: RestServer) -> None:
    server.play("GET /moons", Play(429, None, {"Retry-After": "3600"}))
    error = refused(server, get)
    assert isinstance(error, Transient)
    assert error.retry_after == 3600
    assert len(server.seen) == 1


# ---- the vendor's own reading


def test_a_success_that_is_none_is_told_as_the_vendor_reads_it(server: RestServer) -> None:
    def explain(answer: Answer) -> ProviderError | None:
        body: Any = answer.body
        return QuotaExceeded(f"Moon: {answer.words}") if body.get("success") is False else None

    server.play("GET /moons", Play(200, {"success": False, "msg": "no credit"}))
    error = refused(server, get, explain=explain)
    assert isinstance(error, QuotaExceeded)
    assert str(error) == "Moon: no credit"
    assert asked(server, get, explain=explain) == {"path": "/moons"}


def test_a_vendor_can_call_a_server_error_a_lack_of_capacity(server: RestServer) -> None:
    server.play("GET /moons", Play(503, {"code": "service_unavailable"}))
    error = refused(server, get, explain=lambda answer: Unavailable(answer.code) if answer.status == 503 else None)
    assert isinstance(error, Unavailable)
    assert str(error) == "service_unavailable"
    assert len(server.seen) == 1


def test_a_reading_that_stumbles_leaves_the_usual_one(server: RestServer, caplog: pytest.LogCaptureFixture) -> None:
    def explain(answer: Answer) -> ProviderError | None:
        body: Any = answer.body
        return ProviderError(body["error"]["message"])

    server.play("GET /moons", Play(402, "broke"))
    assert isinstance(refused(server, get, explain=explain), QuotaExceeded)
    assert "could not be read" in caplog.text


def test_the_vendors_pause_belongs_to_its_own_reading_too(server: RestServer) -> None:
    server.play("GET /moons", Play(400, None, {"Retry-After": "99"}))
    error = refused(server, get, explain=lambda _: Transient("Moon is busy"))
    assert isinstance(error, Transient)
    assert error.retry_after == 99


# ---- who asks


class Renewed:
    """Tokens that run out."""

    def __init__(self) -> None:
        self.tokens = ["old-token-1234", "new-token-1234"]

    async def __call__(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    async def renew(self) -> Mapping[str, str]:
        self.tokens = self.tokens[1:] or self.tokens
        return await self()


def test_credentials_that_have_run_out_are_renewed_once(server: RestServer) -> None:
    server.play("GET /moons", Play(401))
    assert asked(server, get, authorize=Renewed()) == {"path": "/moons"}
    assert [each.headers["authorization"] for each in server.seen] == ["Bearer old-token-1234", "Bearer new-token-1234"]
    server.play("GET /moons", *[Play(401)] * 5)
    assert isinstance(refused(server, get, authorize=Renewed()), AuthenticationFailed)
    assert len(server.seen) == 4


def test_refused_credentials_say_what_to_set(server: RestServer) -> None:
    server.play("GET /moons", Play(401))
    assert "set MOON_KEY" in str(refused(server, get, remedy="set MOON_KEY"))
    assert len(server.seen) == 1


@pytest.mark.parametrize("token", ["", "with\nline-of-5ecret", "gehäimes-5ecret"])
def test_credentials_that_no_header_can_have_are_not_shown(server: RestServer, token: str) -> None:
    async def authorize() -> Mapping[str, str]:
        return {"X-Key": token}

    error = refused(server, get, authorize=authorize, remedy="set MOON_KEY")
    assert isinstance(error, AuthenticationFailed)
    assert "set MOON_KEY" in str(error)
    assert "5ecret" not in str(error)
    assert not server.seen


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 429, 500, 200])
def test_no_error_and_no_log_tells_the_credentials_that_a_vendor_repeats(
    server: RestServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    private = "-----BEGIN KEY-----\nbase64OfAPrivateKeyLine0123456789\nshortLastLine0123\n-----END KEY-----"
    said = f"token {TOKEN} and key {private!r} and {private} are wrong"

    async def ask(client: RestClient) -> object:
        client.hide(private)
        assert TOKEN not in repr(client)
        return await client.ask("GET", "/moons", into=Moon)

    server.play("GET /moons", *[Play(status, {"message": said})] * 50)
    error = refused(server, ask)
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None:
        chain.append(each)
        each = each.__cause__ or each.__context__
    told = " ".join([*(f"{error!r} {vars(error)}" for error in chain), *(repr(pickle.loads(pickle.dumps(error))),)])
    log = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("skyward"))
    for secret in (TOKEN, "base64OfAPrivateKeyLine0123456789", "shortLastLine0123"):
        assert secret not in told
        assert secret not in log


def test_errors_hold_no_request(server: RestServer) -> None:
    server.play("GET /moons", *[Play(CUT)] * 50)
    with hurried():
        error = refused(server, get)
    assert isinstance(error, Transient)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_vendors_words_are_cut_and_cannot_steer_a_terminal(server: RestServer) -> None:
    server.play("GET /moons", Play(400, {"detail": "\x1b[2J" + "word " * 1000}))
    error = refused(server, get)
    assert len(str(error)) < 500
    assert "\x1b" not in str(error)


def test_credentials_do_not_follow_to_another_address(server: RestServer) -> None:
    with served(RestServer()) as elsewhere:
        server.play("GET /moons", Play(307, None, {"Location": f"{elsewhere.endpoint}/moons"}))
        error = refused(server, get)
    assert "check the endpoint" in str(error)
    assert not elsewhere.seen


# ---- connections


def test_a_closed_client_says_so(server: RestServer) -> None:
    async def main() -> None:
        client = RestClient("Moon", server.endpoint, authorize=bearer(TOKEN))
        await client.ask("GET", "/moons")
        await client.aclose()
        await client.aclose()
        with pytest.raises(ProviderError, match="closed"):
            await client.ask("GET", "/moons")

    asyncio.run(main())


def test_a_client_serves_one_event_loop_after_another(server: RestServer) -> None:
    client = RestClient("Moon", server.endpoint, authorize=bearer(TOKEN))
    server.play("GET /moons", *[Play(200, {}, {"Connection": "close"})] * 2)
    for _ in range(2):
        assert asyncio.run(client.ask("GET", "/moons")) == {}


def test_a_cancelled_question_leaves_a_client_that_serves(server: RestServer) -> None:
    over = threading.Event()
    server.play("GET /moons", Play(200, until=over))

    async def main() -> object:
        client = RestClient("Moon", server.endpoint, authorize=bearer(TOKEN))
        asking = asyncio.ensure_future(client.ask("GET", "/moons"))
        await asyncio.to_thread(server.arrived.wait, 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        over.set()
        try:
            return await client.ask("GET", "/moons")
        finally:
            await client.aclose()

    assert asyncio.run(main()) == {"path": "/moons"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "moon.example",
        "ftp://moon.example",
        "https://",
        "https://moon.example:port",
        "https://user:word@moon.example",
        "https://moon.example?x=1",
        "http://moon.example",
        "http://8.8.8.8",
    ],
)
def test_an_endpoint_that_would_tell_credentials_or_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint of Moon") as caught:
        RestClient("Moon", endpoint, authorize=bearer(TOKEN))
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["https://moon.example/v1/", "http://127.0.0.1:80", "http://10.0.0.1", "http://[::1]"]
)
def test_an_endpoint_is_taken(endpoint: str) -> None:
    assert RestClient("Moon", endpoint, authorize=bearer(TOKEN)).endpoint == endpoint.rstrip("/")


def test_certificates_that_cannot_be_read_are_named(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    with pytest.raises(ConfigurationError, match=r"/nowhere/certificates\.pem"):
        asked(server, get)
