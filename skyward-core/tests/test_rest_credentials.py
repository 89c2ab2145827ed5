"""Who asks a vendor, and by which way: credentials that nobody else learns, and connections."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Mapping

import pytest
from rest_asking import TOKEN, Moon, asked, get, refused
from rest_asking import clock as clock
from rest_asking import server as server
from rest_server import CUT, Play, RestServer, served

from skyward.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    Transient,
)
from skyward.spi import RestClient, bearer
from skyward.testing._hurry import hurried

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
