"""A vendor's API on an HTTP server of its own: routes, a record of requests, faults, answers that fit a schema."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self, override
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import define, evolve, field, frozen

from .faults import Faults, Plan
from .schema import Schema

__all__ = ["Refusal", "Reply", "Request", "Seen", "VendorServer", "route"]


@frozen
class Request:
    """One question to the vendor."""

    method: str
    path: str
    """As it was asked for, without the query and without a slash at its end."""
    queries: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Their names are in lower case."""
    raw: bytes
    body: Any
    """From JSON or from a form; text where it is neither, ``None`` where there is none."""
    args: Mapping[str, str] = field(factory=dict)
    """What stands in the path for ``{name}`` of the route."""

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter of the query."""
        return {name: values[-1] for name, values in self.queries.items()}

    @property
    def bearer(self) -> str:
        """The token behind ``Bearer`` in the header ``Authorization``, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@frozen
class Reply:
    """An answer: a body that is text or bytes goes out as it is, ``None`` as nothing, and whatever else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict)


class Refusal(Exception):
    """Raised by a route: the answer is this one."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.reply = Reply(status, body, headers or {})


@frozen
class Seen:
    """What was asked, credentials and all, and the status of the answer; ``None`` where there was no answer."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int | None


@define
class _Route:
    method: str
    pattern: re.Pattern[str]
    name: str


type Handler = Callable[..., Reply]


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Marks the method of a `VendorServer` that answers: ``@route("DELETE", "/v2/pods/{id}")``.

    It is called with the `Request`, under the server's lock, and ``request.args["id"]`` is what stands for ``{id}``:
    one part of the path, without slashes.
    """

    def mark(handler: Handler) -> Handler:
        pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path.rstrip("/"))))
        routes = [*getattr(handler, "_routes", ()), _Route(method, pattern, handler.__name__)]
        handler._routes = routes  # type: ignore[attr-defined]
        return handler

    return mark


class VendorServer:
    """The API of one vendor. A fake is a subclass with routes; what it holds is guarded by ``lock``.

    Args:
        address: where it listens, at a free port. Programs in containers reach it if that is the address of their
            network's gateway.
    """

    schema: Schema | None = None
    """What every answer is checked with, and every request's body; ``problems`` tells what does not fit."""
    _routes: ClassVar[list[_Route]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        methods = (getattr(cls, name, None) for name in dir(cls))
        cls._routes = [each for method in methods for each in getattr(method, "_routes", ()) if callable(method)]

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.lock = threading.RLock()
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.problems: list[str] = []
        """What is wrong with the fake: answers that do not fit the schema, routes that failed."""
        self._http = _HTTP((address, 0), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name=f"{type(self).__name__}")
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Its address, without a path and without a slash at its end."""
        address, port = self._http.server_address[:2]
        return f"http://{address!s}:{port}"

    # ---- what a fake may give

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which clients find it: its address, and credentials."""
        return {}

    def authorize(self, request: Request) -> Reply | None:
        """The refusal of whoever has no right to ask; called under the lock, before the route."""
        return None

    def problem(self, status: int) -> Reply:
        """What the vendor says with a status, for faults without a body of their own."""
        return Reply(status, {"error": f"status {status}, as scripted"})

    def unfit(self, request: Request, problems: list[str]) -> Reply | None:
        """The refusal of a request whose body does not fit the schema; ``None`` lets it pass."""
        return Reply(422, {"error": "; ".join(problems)})

    def missing(self, request: Request) -> Reply:
        """What the vendor says where there is no such route."""
        return self.problem(404)

    def strangers(self) -> object:
        """What exists that is not ours, as a value that can be compared: it must be the same at the end of a test."""
        return None

    # ---- what a test asks

    def asked(self, what: str = "*") -> list[Seen]:
        """The requests so far whose method and path match, as ``POST /v2/pods`` or ``* /v2/pods/*``."""
        with self.lock:
            return [each for each in self.requests if fnmatch.fnmatchcase(f"{each.method} {each.path}", what)]

    def close(self) -> None:
        """End the server; whatever waits is let go."""
        self.faults.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- answering

    def answer(self, request: Request, plan: Plan) -> Reply | None:
        """The answer to a request by the script; ``None`` for a connection that is cut."""
        if plan.before is not None:
            plan.before()
        reply = self._answer(request) if plan.effect else None
        if plan.behind is not None:
            plan.behind()
        if plan.lost:
            return None
        if plan.status is not None:
            own = plan.body is None  # what a test has written may be wrong on purpose
            reply = self._checked(request, self.problem(plan.status)) if own else Reply(plan.status, plan.body)
            reply = evolve(reply, headers={**reply.headers, **plan.headers})
        assert reply is not None
        return reply

    def _answer(self, request: Request) -> Reply:
        found = [(each, match) for each in self._routes if (match := each.pattern.fullmatch(request.path))]
        # Where several fit, the one that says most: `/instances/balance` rather than `/instances/{id}`.
        found.sort(key=lambda each: len(each[1].groupdict()))
        try:
            with self.lock:
                if refused := self.authorize(request):
                    return self._checked(request, refused)
                for each, match in found:
                    if each.method == request.method:
                        args = {name: unquote(value) for name, value in match.groupdict().items()}
                        return self._fitting(evolve(request, args=args), getattr(self, each.name))
                return self.missing(request)
        except Refusal as refusal:
            return refusal.reply
        except Exception as problem:
            self.problems.append(f"{request.method} {request.path}: {type(problem).__name__}: {problem}")
            return Reply(500, f"the fake failed: {problem}")

    def _fitting(self, request: Request, handler: Handler) -> Reply:
        if self.schema is not None:
            problems = self.schema.request(request.method, request.path, request.body)
            if problems and (refused := self.unfit(request, problems)):
                return self._checked(request, refused)
        try:
            reply = handler(request)
        except Refusal as refusal:
            reply = refusal.reply
        return self._checked(request, reply)

    def _checked(self, request: Request, reply: Reply) -> Reply:
        """An answer, which must be one that the vendor has published."""
        if self.schema is not None:
            where = f"{request.method} {request.path}: {reply.status}"
            problems = self.schema.response(request.method, request.path, reply.status, reply.body)
            self.problems += (f"{where}: {each}" for each in problems)
        return reply

    def record(self, request: Request, status: int | None) -> None:
        """Keep a request, when its answer is known."""
        seen = Seen(request.method, request.path, request.query, request.headers, request.body, status)
        with self.lock:
            self.requests.append(seen)


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], vendor: VendorServer) -> None:
        self.vendor = vendor
        super().__init__(address, _Handler)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HTTP

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            method=self.command,
            path=url.path.rstrip("/") or "/",
            queries=parse_qs(url.query, keep_blank_values=True),
            headers=headers,
            raw=raw,
            body=_parsed(raw, headers.get("content-type", "")),
        )
        vendor = self.server.vendor
        reply = vendor.answer(request, vendor.faults.next(f"{request.method} {request.path}"))
        vendor.record(request, None if reply is None else reply.status)
        if reply is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        body, kind = _written(reply.body)
        self.send_response(reply.status)
        for name, value in {**({"Content-Type": kind} if kind else {}), **reply.headers}.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _parsed(raw: bytes, kind: str) -> Any:
    text = raw.decode(errors="replace")
    if not raw:
        return None
    if kind.startswith("application/x-www-form-urlencoded"):
        return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _written(body: Any) -> tuple[bytes, str]:
    match body:
        case None:
            return b"", ""
        case bytes():
            return body, "application/octet-stream"
        case str():
            return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"
