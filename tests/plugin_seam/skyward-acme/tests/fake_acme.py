"""Acme's API on this machine, for tests: what the provider needs of it, and what can go wrong there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from skyward.testing import Fault

TOKEN = "acme-token-5e1f8c"
KINDS = [
    {"name": "lander", "cpus": 4, "gigabytes": 16, "price": 1.0, "spot_price": 0.25},
    {"name": "rover", "cpus": 16, "gigabytes": 64, "price": 4.0, "spot_price": 1.5},
]
ON_CREATE = {Fault.LOST_REPLY, Fault.ERROR_AFTER_CREATE, Fault.ERROR_BEFORE_CREATE, Fault.NO_CAPACITY, Fault.QUOTA}
ON_MACHINE = {Fault.SLOW_BOOT, Fault.STUCK}
ON_ANY = {Fault.THROTTLED, Fault.REFUSED_CREDENTIALS}
REFUSALS: dict[Fault, tuple[int, dict[str, str]]] = {
    Fault.ERROR_BEFORE_CREATE: (503, {"code": "busy", "message": "try again later"}),
    Fault.ERROR_AFTER_CREATE: (502, {"code": "bad_gateway", "message": "no answer from upstream"}),
    Fault.NO_CAPACITY: (409, {"code": "sold_out", "message": "no such machine is free"}),
    Fault.QUOTA: (409, {"code": "over_quota", "message": "2 of 2 machines are in use"}),
    Fault.THROTTLED: (429, {"code": "slow_down", "message": "one request too many"}),
    Fault.REFUSED_CREDENTIALS: (401, {"code": "unknown_token", "message": "this token is not known"}),
    Fault.TERMINATE_FAILS: (500, {"code": "internal", "message": "something went wrong"}),
}


class FakeAcme(ThreadingHTTPServer):
    """The server. It is what `ProviderConformance` asks for as a vendor, too."""

    daemon_threads = True
    faults: Collection[Fault] = ON_CREATE | ON_MACHINE | ON_ANY | {Fault.PARTIAL, Fault.TERMINATE_FAILS}

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Handler)
        self.endpoint = f"http://{address}:{self.server_port}"
        self.lock = threading.RLock()
        self.machines: dict[str, dict[str, Any]] = {}
        self.plan: list[Fault] = []
        self.count = self.made = 0
        self.machines["m-0"] = {**self.new({"kind": "rover", "label": "of somebody else"}), "state": "on"}
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()

    def close(self) -> None:
        """End the server."""
        self.shutdown()
        self.server_close()

    # what the kit asks

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        """Have this happen to the next requests, or machines, that it can happen to."""
        with self.lock:
            self.plan += [fault] * times

    def end(self, name: str, /) -> None:
        """Have a machine end by itself."""
        with self.lock:
            self.machines[name]["state"] = "off"

    def creates(self) -> int:
        """How many machines were asked for."""
        return self.count

    def existing(self) -> Collection[str]:
        """The machines that cost something, but for the stranger's."""
        with self.lock:
            return [name for name, each in self.machines.items() if each["state"] != "off" and name != "m-0"]

    def belongings(self) -> Collection[str]:
        """Pools have nothing here but machines."""
        return []

    def secrets(self) -> Collection[str]:
        """What must not be told."""
        return [TOKEN]

    def reset(self) -> None:
        """Forget the faults that are to come."""
        with self.lock:
            self.plan.clear()

    def user_data(self, name: str, /) -> str:
        """What a machine was given for its boot."""
        return str(self.machines[name]["boot_script"])

    # how machines are: tests with real ones override these

    def new(self, order: dict[str, Any]) -> dict[str, Any]:
        """A machine that was just bought."""
        self.made += 1
        name = f"m-{self.made - 1}"
        return {"looks": 0, "address": "127.0.0.1", "port": 9, "state": "building", "id": name, **order}

    def removed(self, machine: dict[str, Any]) -> None:
        """One was ended."""

    # how requests are answered

    def happens(self, *faults: Fault) -> Fault | None:
        """The first fault of the plan that is one of these; it is used up."""
        found = next((each for each in self.plan if each in faults), None)
        if found is not None:
            self.plan.remove(found)
        return found

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any) -> tuple[int, Any] | None:
        """Status and body; nothing for a connection that is cut."""
        if fault := self.happens(*ON_ANY):
            return REFUSALS[fault]
        match method, path:
            case "GET", ["account"]:
                return 200, {"name": "ada"}
            case "GET", ["kinds"]:
                return 200, KINDS
            case "GET", ["machines"]:
                return 200, self.page(int(query.get("page", 1)))
            case "POST", ["machines"]:
                return self.create(body)
            case _, ["machines", name, *_] if name not in self.machines:
                return 404, {"code": "not_found", "message": f"there is no machine {name}"}
            case "PUT", ["machines", name]:
                self.machines[name]["label"] = body["label"]
                return 204, None
            case "DELETE", ["machines", name]:
                if fault := self.happens(Fault.TERMINATE_FAILS):
                    return REFUSALS[fault]
                self.removed(self.machines.pop(name))
                return 204, None
        return 404, {"code": "not_found", "message": "there is nothing here"}

    def create(self, order: dict[str, Any]) -> tuple[int, Any] | None:
        """Sell a machine, unless something is in the way."""
        self.count += 1
        if (fault := self.happens(*ON_CREATE)) in {Fault.ERROR_BEFORE_CREATE, Fault.NO_CAPACITY, Fault.QUOTA}:
            return REFUSALS[fault]
        if self.happens(Fault.PARTIAL):
            self.plan.append(Fault.NO_CAPACITY)  # for the next one
        machine = self.new(order)
        machine["looks"] = {None: 1, Fault.SLOW_BOOT: 4, Fault.STUCK: 10**9}[self.happens(*ON_MACHINE)]
        self.machines[machine["id"]] = machine
        if fault is Fault.LOST_REPLY:
            return None
        return REFUSALS[fault] if fault else (201, machine)

    def page(self, number: int) -> dict[str, Any]:
        """Two machines of the list. Each look lets those boot that are on their way."""
        for machine in self.machines.values():
            machine["looks"] -= 1
            if machine["looks"] < 0 and machine["state"] == "building":
                machine["state"] = "on"
        names = sorted(self.machines)[2 * number - 2 : 2 * number]
        more = len(self.machines) > 2 * number
        return {"machines": [self.machines[name] for name in names], "next": number + 1 if more else None}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: FakeAcme

    def serve(self) -> None:
        """Answer a request."""
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        path = [unquote(part) for part in url.path.split("/")][2:]
        with self.server.lock:
            if self.headers["Authorization"] == f"Bearer {TOKEN}" and not url.path.startswith("/nobody/"):
                answer = self.server.answer(self.command, path, query, json.loads(text or "null"))
            else:
                answer = REFUSALS[Fault.REFUSED_CREDENTIALS]
            content = json.dumps(answer[1]).encode() if answer and answer[1] is not None else b""
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer[0])
        if answer[0] == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = serve

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""
