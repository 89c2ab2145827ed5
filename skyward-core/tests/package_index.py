"""A package index on this machine that lets in only who has its password, and writes down what it is asked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
import secrets
import ssl
import threading
import urllib.error
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PYPI = "https://pypi.org"
FILES = "https://files.pythonhosted.org"


def wheel(name: str, version: str, files: dict[str, bytes], tag: str = "py3-none-any") -> tuple[str, bytes]:
    """The name and content of a wheel with these files, those of its metadata added."""
    stem = f"{name}-{version}"
    packed = io.BytesIO()
    told = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in told.items():
            archive.writestr(path, content)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(f"{path},,\n" for path in told))
    return f"{stem}-{tag}.whl", packed.getvalue()


def wheel_of_uv(program: bytes, version: str, platform: str = "manylinux_2_17_x86_64.manylinux2014_x86_64") -> Any:
    """A wheel that brings ``program`` as uv's."""
    return wheel("uv", version, {f"uv-{version}.data/scripts/uv": program}, f"py3-none-{platform}")


class PackageIndex:
    """Serves wheels of its own, and everything else from PyPI.

    Attributes:
        password: random, so that it can be looked for everywhere.
        asked: the paths of all requests that were answered, in order.
        links: how a page names its files: ``relative``, ``rooted`` or ``absolute``.
    """

    def __init__(self) -> None:
        self.user, self.password = "reader", secrets.token_hex(12)
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.links = "relative"
        self._wheels: dict[str, bytes] = {}
        self._lies: set[str] = set()
        self._yanked: set[str] = set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def do_HEAD(self) -> None:
                index.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def address(self) -> str:
        return f"http://{self.user}:{self.password}@{self.host}/simple"

    def add(self, named: tuple[str, bytes], *, lie: bool = False, yanked: bool = False) -> None:
        """Serve a wheel; with ``lie``, under another digest than its own."""
        self._wheels[named[0]] = named[1]
        self._lies |= {named[0]} if lie else set()
        self._yanked |= {named[0]} if yanked else set()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            self.refused.append(request.path)
            self._send(request, 401, b"who are you?", "text/plain")
            return
        self.asked.append(request.path)
        kind, content = self._content(request.path)
        self._send(request, 200 if content is not None else 404, content or b"nothing", kind)

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: bytes, kind: str) -> None:
        request.send_response(status)
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="packages"')
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Connection", "close")  # else wget may use the connection again, until it sees it closed
        request.end_headers()
        if request.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # whoever has no room for it goes away
                request.wfile.write(content)

    def _content(self, path: str) -> tuple[str, bytes | None]:
        kind, _, rest = path.strip("/").partition("/")
        match kind:
            case "simple" if any(_project(name) == rest for name in self._wheels):
                return "text/html", self._page(rest).encode()
            case "simple":
                page = _fetched(f"{PYPI}/simple/{rest}/")
                return "text/html", page and page.replace(FILES.encode(), b"/pypi")
            case "files":
                return "application/octet-stream", self._wheels.get(rest)
            case "pypi":
                return "application/octet-stream", _fetched(f"{FILES}/{rest}")
            case _:
                return "text/plain", None

    def _page(self, project: str) -> str:
        prefix = {"relative": "../../", "rooted": "/", "absolute": f"http://{self.host}/"}[self.links]
        lines = ["<!DOCTYPE html><html><body>"]
        for name, content in self._wheels.items():
            if _project(name) == project:
                digest = hashlib.sha256(content + b"!" * (name in self._lies)).hexdigest()
                yanked = ' data-yanked="bad"' if name in self._yanked else ""
                lines.append(f'<a href="{prefix}files/{name}#sha256={digest}"{yanked}>{name}</a><br/>')
        return "\n".join([*lines, "</body></html>"])


def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("-")[0]).lower()


_trusted = ssl.create_default_context()  # what this process trusts, whatever a test does to its environment
_kept: dict[str, bytes | None] = {}


def _fetched(address: str) -> bytes | None:
    if address not in _kept:
        try:
            with urllib.request.urlopen(address, timeout=60, context=_trusted) as answer:
                _kept[address] = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            _kept[address] = None
    return _kept[address]
