"""What a vendor is asked: repeated as long as it helps, understood, and without telling who asks."""

from __future__ import annotations

import email.utils
import inspect
import socket
import threading
from typing import Any

import pytest
from rest_asking import Moon, asked, get, refused
from rest_asking import clock as clock
from rest_asking import server as server
from rest_server import CUT, Play, RestServer

from skyward._market import ANSWER_LIMIT
from skyward._visiting import ASK_LIMIT
from skyward.errors import (
    AuthenticationFailed,
    ProviderError,
    QuotaExceeded,
    Transient,
    Unavailable,
)
from skyward.spi import Answer, RestClient
from skyward.testing._hurry import HurriedClock

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


@pytest.mark.usefixtures("clock")
def test_an_address_at_which_nobody_listens_is_told_with_what_to_look_at(server: RestServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        server.endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        error = refused(server, get)
    assert type(error) is Transient
    assert f"Moon could not be asked GET /moons at {server.endpoint} (" in str(error)
    assert str(error).endswith("): see whether that address is right, and can be reached from this machine")


def test_a_vendor_is_given_up_before_whoever_waits_for_a_session_gives_up() -> None:
    assert inspect.signature(RestClient).parameters["patience"].default < min(ANSWER_LIMIT, ASK_LIMIT)


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
