"""An HTTP server that answers by script, for the tests of what asks vendors."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Generator, Mapping
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen

CUT = 0
"""The status of an answer that does not come: the connection is cut."""


@frozen
class Play:
    """What happens to a request: an answer of its own, and whether it has its effect all the same."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(factory=dict)
    effect: bool = False
    until: threading.Event | None = field(default=None, kw_only=True)


@frozen
class Seen:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RestServer:
    """Answers each request by the first play that is meant for it, or else by ``reply``."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.arrived = threading.Event()
        self._plays: list[tuple[str, Play]] = []
        self._lock = threading.RLock()
        self.endpoint = ""

    def play(self, what: str, *plays: Play) -> None:
        """``what``: ``"GET /moons/*"``."""
        self._plays += [(what, play) for play in plays]

    def reply(self, seen: Seen) -> tuple[int, object]:
        """The usual answer."""
        return 200, {"path": seen.path}

    def answer(self, seen: Seen) -> Play:
        with self._lock:
            self.seen.append(seen)
            self.arrived.set()
            mine = next((each for each in self._plays if fnmatchcase(str(seen), each[0])), None)
            if mine is None:
                return Play(*self.reply(seen))
            self._plays.remove(mine)
            if mine[1].effect:
                self.reply(seen)
        if mine[1].until is not None:
            mine[1].until.wait(60)
        return mine[1]

    def count(self, what: str) -> int:
        return sum(fnmatchcase(str(each), what) for each in self.seen)


@contextlib.contextmanager
def served[S: RestServer](server: S) -> Generator[S]:
    """Have it serve on an address of this host."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            play = server.answer(
                Seen(self.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(raw) if raw else None)
            )
            if play.status == CUT:
                self.close_connection = True
                return
            body = play.body if isinstance(play.body, str) or play.body is None else json.dumps(play.body)
            content = (body or "").encode()
            self.send_response_only(play.status)
            for name, value in play.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):  # a client that has gone
                self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815  as the library calls them

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *args: object) -> None:
            pass

    http = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
