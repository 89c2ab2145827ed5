"""The servers that stand for vendors' APIs: routes, what they remember, faults by script, answers that fit a schema."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, override
from urllib.parse import urlsplit

import pytest
from fakes import Refusal, Reply, Request, Schema, VendorServer, route

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/things": {
            "post": {
                "requestBody": {"$ref": "#/components/requestBodies/Thing"},
                "responses": {
                    "201": {"$ref": "#/components/responses/Thing"},
                    "429": {"description": "slower"},
                    "default": {"$ref": "#/components/responses/Problem"},
                },
            }
        },
        "/things/{id}": {
            "get": {"responses": {"200": {"$ref": "#/components/responses/Thing"}}},
            "delete": {"responses": {"204": {"description": "gone"}}},
        },
    },
    "components": {
        "requestBodies": {
            "Thing": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
            }
        },
        "responses": {
            "Thing": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
            "Problem": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        },
        "schemas": {
            "Problem": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
            "Thing": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "note": {"type": ["string", "null"]}},
            },
        },
    },
}


class Things(VendorServer):
    """A vendor of things, each with a name."""

    schema = Schema(DOCUMENT)

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        super().__init__()

    @override
    def authorize(self, request: Request) -> Reply | None:
        return None if request.bearer == "secret" else Reply(401, {"error": "who are you?"})

    @route("POST", "/things")
    def create(self, request: Request) -> Reply:
        self.things[request.body["name"]] = request.body
        return Reply(201, request.body)

    @route("GET", "/things/{id}")
    def read(self, request: Request) -> Reply:
        if request.args["id"] not in self.things:
            raise Refusal(429)
        return Reply(200, self.things[request.args["id"]])

    @route("GET", "/things/all")
    def summary(self, request: Request) -> Reply:
        return Reply(200, {"name": ",".join(sorted(self.things)) + request.query.get("tail", "")})

    @route("DELETE", "/things/{id}/")
    def delete(self, request: Request) -> Reply:
        self.things.pop(request.args["id"], None)
        return Reply(204)


@pytest.fixture
def things() -> Iterator[Things]:
    with Things() as server:
        yield server


def ask(server: VendorServer, method: str, path: str, body: Any = None, token: str = "secret") -> tuple[int, Any]:
    """Status and body of an answer; raises ``http.client.RemoteDisconnected`` where there is none."""
    url = urlsplit(server.endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, json.loads(raw) if raw and raw[:1] in b"{[" else raw.decode()


def test_a_route_gets_what_stands_in_its_path_and_in_the_query(things: Things) -> None:
    assert ask(things, "POST", "/things", {"name": "a b"}) == (201, {"name": "a b"})
    assert ask(things, "GET", "/things/a%20b/") == (200, {"name": "a b"})
    assert ask(things, "GET", "/things/all?tail=!") == (200, {"name": "a b!"}), "the route that says more goes first"
    assert ask(things, "DELETE", "/things/a%20b") == (204, "")
    assert ask(things, "GET", "/nothing")[0] == 404
    assert not things.problems


def test_every_request_is_remembered_with_its_credentials_and_the_status_of_its_answer(things: Things) -> None:
    ask(things, "POST", "/things", {"name": "x"}, token="wrong")
    ask(things, "POST", "/things?really=yes", {"name": "x"})
    refused, made = things.asked("POST /things")
    assert (refused.status, made.status) == (401, 201)
    assert refused.headers["authorization"] == "Bearer wrong"
    assert (made.query, made.body) == ({"really": "yes"}, {"name": "x"})
    assert not things.asked("GET *")


def test_a_scripted_refusal_has_its_headers_and_what_the_vendor_says_or_a_body_of_its_own(things: Things) -> None:
    things.faults.fail("GET *", 429, headers={"Retry-After": "7"}, times=2)
    things.faults.fail("GET *", 503, body="in trouble")
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{things.endpoint}/things/x", timeout=60)
        assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "7")
        assert json.loads(refused.value.read()) == {"error": "status 429, as scripted"}
        refused.value.close()
    assert ask(things, "GET", "/things/x") == (503, "in trouble")


def test_a_scripted_refusal_comes_before_the_effect_in_the_order_of_the_script(things: Things) -> None:
    things.faults.fail("POST /things", 402, body={"error": "no money"}, after=1)
    things.faults.fail("POST *", 429, headers={"Retry-After": "7"})
    told = [ask(things, "POST", "/things", {"name": name})[0] for name in "abc"]
    assert told == [429, 402, 201]
    assert set(things.things) == {"c"}
    assert not things.faults.left()


def test_an_error_behind_the_effect_and_a_lost_answer_leave_the_effect(things: Things) -> None:
    things.faults.fail_after("POST /things", 500)
    things.faults.lose("POST /things")
    things.faults.lose("POST /things", effect=False)
    assert ask(things, "POST", "/things", {"name": "a"})[0] == 500
    for name in "bc":
        with pytest.raises(http.client.RemoteDisconnected):
            ask(things, "POST", "/things", {"name": name})
    assert set(things.things) == {"a", "b"}
    assert [each.status for each in things.asked("POST *")] == [500, None, None]


@pytest.mark.parametrize("behind", [False, True])
def test_a_call_waits_before_its_effect_or_behind_it_while_others_are_answered(things: Things, behind: bool) -> None:
    go, here = threading.Event(), threading.Event()

    def wait() -> None:
        here.set()
        go.wait(60)

    things.faults.delay("POST /things", wait, behind=behind, times=1)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, things, "POST", "/things", {"name": "slow"})
        assert here.wait(60)
        assert ask(things, "POST", "/things", {"name": "quick"})[0] == 201
        assert set(things.things) == ({"slow", "quick"} if behind else {"quick"})
        go.set()
        assert slow.result(60)[0] == 201


def test_the_end_of_a_server_lets_go_what_waits_for_an_event(things: Things) -> None:
    things.faults.delay("GET *", threading.Event())
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, things, "GET", "/things/all")
        things.close()
        assert slow.exception(60) or slow.result()


def test_a_request_that_does_not_fit_the_schema_is_refused_and_has_no_effect(things: Things) -> None:
    status, told = ask(things, "POST", "/things", {"name": 1, "more": 2})
    assert status == 422
    assert "more" in told["error"]
    assert ask(things, "POST", "/things")[0] == 422, "a body is required"
    assert not things.things
    assert not things.problems


def test_an_answer_that_does_not_fit_the_schema_is_a_problem_of_the_fake(things: Things) -> None:
    things.things["bad"] = {"name": None}
    ask(things, "GET", "/things/bad")
    (problem,) = things.problems
    assert problem.startswith("GET /things/bad: 200: $.name:")


@pytest.mark.parametrize("hook", ["authorize", "unfit", "problem"])
def test_refusals_must_fit_the_schema_as_well(things: Things, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(things, hook, lambda *_: Reply(400, {"message": "in nobody's form"}))
    if hook == "problem":
        things.faults.fail("POST /things", 400)
    assert ask(things, "POST", "/things", {"name": 1} if hook == "unfit" else {"name": "x"})[0] == 400
    assert things.problems == ["POST /things: 400: $: 'error' is a required property"]
    assert not things.things


def test_a_refusal_that_a_test_has_written_may_be_wrong_on_purpose(things: Things) -> None:
    things.faults.fail("POST /things", 400, body="<html>")
    assert ask(things, "POST", "/things", {"name": "x"}) == (400, "<html>")
    assert not things.problems


def test_a_route_that_fails_is_a_problem_of_the_fake(things: Things) -> None:
    things.things[""] = None
    with things.lock:
        things.things = None  # type: ignore[assignment]
    assert ask(things, "GET", "/things/all")[0] == 500
    assert "TypeError" in things.problems[0]


def test_what_the_schema_does_not_tell_of_is_a_problem_unless_it_is_excused() -> None:
    schema = Schema(DOCUMENT, unknown=("GET /others/*", "DELETE /things/* 404"))
    assert schema.response("GET", "/elsewhere", 200, {}) == ["the document has no GET /elsewhere"]
    assert schema.response("DELETE", "/things/x", 200, {}) == ["the document tells of no such status"]
    assert schema.response("DELETE", "/things/x", 204, {"name": "x"}) == ["a body where the document has none"]
    assert not schema.response("GET", "/others/1/", 200, {})
    assert not schema.response("DELETE", "/things/x", 404, {})
    assert not schema.response("DELETE", "/things/x", 503, "trouble")


def test_a_document_of_an_older_version_is_read_by_its_rules() -> None:
    note = {"type": "object", "properties": {"note": {"type": "string", "nullable": True}}}
    told = {"4XX": {"content": {"application/problem+json": {"schema": note}}}}
    schema = Schema({"openapi": "3.0.0", "paths": {"/things/{id}": {"get": {"responses": told}}}})
    assert not schema.response("GET", "/things/x", 404, {"note": None})
    assert schema.response("GET", "/things/x", 404, {"note": 1})
    assert schema.response("GET", "/things/x", 404, None) == ["a body is missing"]


@pytest.mark.parametrize("name", ["runpod_openapi_v2.json", "vast_openapi.yaml", "do_subset_openapi.json"])
def test_a_published_document_is_read_and_has_operations(name: str) -> None:
    schema = Schema.load(name)
    if schema is None:
        pytest.skip(f"this test needs the vendor's document {name}")
    assert schema.response("GET", "/no/such/thing", 200, {})
    listed = {"runpod": "/v2/pods", "vast": "/api/v0/instances/1", "do": "/v2/droplets"}[name.split("_")[0]]
    assert schema.response("GET", listed, 200, [1])


def test_a_document_that_is_missing_checks_nothing() -> None:
    assert Schema.load("no_such_vendor.json") is None
