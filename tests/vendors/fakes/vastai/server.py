"""The server: searches, orders, and what becomes of instances."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from fakes.machines import FakeMachines
from fakes.server import Refusal, Reply, Request, VendorServer, route

from .instances import DEAD, Instance
from .market import Ask, Market
from .schema import published

__all__ = ["KEY", "NO_CREDIT", "SOLD_OUT", "VastAIServer", "throttled"]

KEY = "7d3f0c5e9a1b4f6c8d2e0a9b7c5d3e1f7d3f0c5e9a1b4f6c8d2e0a9b7c5d3e1f"
_GONE = "no_such_ask Instance type {} is"
NO_CREDIT = {
    "success": False,
    "error": "insufficient_credit",
    "msg": "Your account lacks credit; see the billing page.",
}
SOLD_OUT = {
    "success": False,
    "error": "no_such_ask",
    "msg": f"error 410/3907: {_GONE.format(1)} no longer available.",
}
_RUNTYPES = {
    "ssh",
    "jupyter",
    "args",
    "ssh_proxy",
    "ssh_direct",
    "jupyter_proxy",
    "jupyter_direct",
    "ssh_direc ssh_proxy",
}
_PAGE = 25


def throttled(threshold: float) -> str:
    """What is said to whoever asks too often: plain text."""
    return f"API requests too frequent: endpoint threshold={threshold}"


def _refused(status: int, error: str, said: str) -> Refusal:
    return Refusal(status, {"success": False, "error": error, "msg": said})


class VastAIServer(VendorServer):
    """One account, with instances in it that are none of ours.

    Attributes:
        market: what is for rent.
        credit: dollars that the account has.
        looks: how many looks at a new instance find it on its way.
        slow: how many of the next instances take four looks more.
        stuck: how many of the next instances never run.
        lag: how many lists do not tell of a new instance.
    """

    schema = published()

    def __init__(self, machines: FakeMachines, key: str = KEY) -> None:
        self.machines = machines
        self.key = key
        self.market = Market()
        self.credit = 25.0
        self.looks = 1
        self.slow = 0
        self.stuck = 0
        self.lag = 0
        self.instances: dict[int, Instance] = {}
        self._given: list[str] = [key]
        self._lists: dict[int, int] = {}
        self._next = 5_000_000
        super().__init__(machines.address)
        for label in (None, "skyward", "train-resnet"):
            self.rented(
                Ask(id=9000 + len(self.instances), machine_id=900, listed=False),
                {"image": "pytorch/pytorch", "label": label, "disk": 20.0},
                ours=False,
            )

    # ---- who asks

    @property
    def environment(self) -> Mapping[str, str]:
        return {"SKYWARD_VASTAI_ENDPOINT": self.endpoint, "VAST_API_KEY": self.key}

    def authorize(self, request: Request) -> Reply | None:
        token = request.bearer or request.query.get("api_key", "")
        if token == self.key:
            return None
        own = next((each for each in self.instances.values() if secrets.compare_digest(each.key, token)), None)
        if own is not None and request.path == f"/api/v0/instances/{own.id}" and request.method in ("DELETE", "PUT"):
            return None
        if request.path == "/api/v0/bundles":  # in which it differs from all others
            return Reply(404, {"error": "auth_error", "msg": "Invalid user key"})
        return self.problem(401)

    def problem(self, status: int) -> Reply:
        if status == 401:
            return Reply(401, {"success": False, "error": "auth_error", "msg": "Invalid user key"})
        if status == 429:
            return Reply(429, throttled(3.0))
        return Reply(status, {"success": False, "error": "server_error", "msg": f"error {status}"})

    def unfit(self, request: Request, problems: list[str]) -> Reply | None:
        body = {"success": False, "error": "invalid_args", "msg": f"error 400/3467: Invalid args: {problems[0]}"}
        return Reply(400, body)

    def strangers(self) -> object:
        with self.lock:
            return [(each.id, each.label, each.actual, tuple(each.keys)) for each in self._all() if not each.ours]

    @route("GET", "/api/v0/users/current")
    def user(self, request: Request) -> Reply:
        account = {
            "id": 4711,
            "email": "ada@example.com",
            "balance": 0.0,
            "credit": self.credit,
            "ssh_key": "",
            "sid": "s",
        }
        return Reply(body=account)

    # ---- renting

    @route("POST", "/api/v0/bundles")
    def search(self, request: Request) -> Reply:
        try:
            return Reply(body={"offers": self.market.search(request.body or {})})
        except (ValueError, AttributeError, TypeError) as problem:
            return Reply(400, {"error": "invalid_request", "msg": f"Error in query parameters: {problem}"})

    @route("PUT", "/api/v0/asks/{id}")
    def rent(self, request: Request) -> Reply:
        number, asked = request.args["id"], request.body
        ask = self.market.find(int(number)) if number.isdecimal() else None
        if ask is None:
            raise _refused(404, "invalid_args", f"error 404/3603: {_GONE.format(number)} not available.")
        self._check(ask, asked)
        gone = ask.rented is not None or ask.sold_out
        if gone and asked.get("cancel_unavail", asked.get("price") is None):
            raise _refused(410, "no_such_ask", f"error 410/3907: {_GONE.format(number)} no longer available.")
        instance = self.rented(ask, asked)
        if gone:  # what few expect: it exists, is billed for its disk, and waits until it can run
            self._stop(instance, "stopped")
        return Reply(body={"success": True, "new_contract": instance.id, "instance_api_key": instance.key})

    def _check(self, ask: Ask, asked: Mapping[str, Any]) -> None:
        price = asked.get("price")
        if len(asked.get("onstart") or "") > 4048:
            raise _refused(400, "invalid_args", "error 400/3470: Invalid args: onstart has more than 4048 characters")
        if len(asked.get("label") or "") > 256:
            raise _refused(400, "invalid_args", "error 400/3471: Invalid args: label has more than 256 characters")
        if asked.get("runtype", "ssh") not in _RUNTYPES:
            raise _refused(400, "invalid_args", f"error 400/3472: Invalid args: runtype {asked['runtype']!r}")
        if float(asked.get("disk") or 10) > ask.disk_space:
            raise _refused(400, "invalid_args", "error 400/3473: Invalid args: not enough disk")
        if price is not None and not (0.001 <= price <= 128.0 and price >= ask.min_bid):
            raise _refused(400, "invalid_price", f"error 400/3742: Invalid price: the minimum bid is {ask.min_bid}")
        if self.credit <= 0:
            raise Refusal(400, NO_CREDIT)

    def rented(self, ask: Ask, asked: Mapping[str, Any], *, ours: bool = True) -> Instance:
        """A new instance of that ask."""
        self._next += 1
        made = Instance(
            id=self._next,
            ask=ask,
            key=secrets.token_hex(32),
            label=asked.get("label"),
            image=asked["image"],
            disk=float(asked.get("disk") or 10.0),
            onstart=asked.get("onstart"),
            runtype=asked.get("runtype", "ssh"),
            price=asked.get("price"),
            ours=ours,
            looks=self.looks,
        )
        ask.rented = made.id
        self.instances[made.id] = made
        self._given.append(made.key)
        if not ours:
            made.actual, made.address = "running", ("198.51.100.9", 40_022)
            return made
        self._lists[made.id] = self.lag
        if self.stuck:
            self.stuck -= 1
            made.looks = -1
        elif self.slow:
            self.slow -= 1
            made.looks += 4
        self._begin(made)
        return made

    def _begin(self, made: Instance) -> None:
        """Have its container started, behind some port of its host. The keys that are attached later get in, too."""
        environment = {
            "CONTAINER_ID": str(made.id),
            "CONTAINER_API_KEY": made.key,
            "VAST_CONTAINERLABEL": f"C.{made.id}",
        }
        machine = self.machines.start(
            str(made.id),
            onstart=made.onstart or "",
            env=environment,
            port=20_000 + made.id % 20_000,
            ended=lambda name: self.die(int(name)),
        )
        made.address = (machine.host, machine.port)

    # ---- instances

    @route("GET", "/api/v1/instances")
    def listed(self, request: Request) -> Reply:
        try:
            limit = min(int(request.query.get("limit", _PAGE)), _PAGE)
            tests = json.loads(request.query.get("select_filters", "{}"))
            after = int(request.query.get("after_token") or 0)
        except ValueError as problem:
            return Reply(400, {"error": "invalid_request", "msg": f"Error in query parameters: {problem}"})
        found = []
        for each in self._all():
            if self._lists.get(each.id, 0) > 0:
                self._lists[each.id] -= 1
                continue
            each.boot()
            if all(self._passes(each, name, test) for name, test in tests.items()):
                found.append(each)
        found.sort(key=lambda each: each.id)
        rest = [each for each in found if each.id > after]
        page = rest[: limit if limit > 0 else 5]
        return Reply(
            body={
                "success": True,
                "instances_found": len(page),
                "total_instances": len(found),
                "label_counts": {},
                "next_token": str(page[-1].id) if len(rest) > len(page) else None,
                "instances": [each.row() for each in page],
            }
        )

    def _passes(self, instance: Instance, name: str, test: Mapping[str, Any]) -> bool:
        if name not in ("id", "label", "actual_status"):
            raise Refusal(
                400, {"error": "invalid_request", "msg": f"Error in query parameters: {name} is not a valid search key"}
            )
        value = instance.row()[name]
        return all(value == given if kind == "eq" else value in given for kind, given in test.items())

    @route("GET", "/api/v0/instances/{id}")
    def shown(self, request: Request) -> Reply:
        instance = self._named(request, must=False)
        if instance is not None:
            instance.boot()
        return Reply(body={"instances": None if instance is None else {**instance.row(), "bundle_id": instance.ask.id}})

    @route("PUT", "/api/v0/instances/{id}")
    def changed(self, request: Request) -> Reply:
        instance, asked = self._named(request), request.body
        if len(asked.get("label") or "") > 1024:
            raise _refused(400, "invalid_args", "error 400/3471: Invalid args: label has more than 1024 characters")
        instance.label = asked.get("label", instance.label)
        if asked.get("state") == "stopped":
            self._stop(instance, "stopped", intended="stopped")
        return Reply(body={"success": True})

    @route("DELETE", "/api/v0/instances/{id}")
    def destroyed(self, request: Request) -> Reply:
        instance = self._named(request)
        del self.instances[instance.id]
        instance.ask.rented = None
        self.machines.end(str(instance.id))
        return Reply(body={"success": True, "msg": "Instance destroyed successfully"})

    @route("POST", "/api/v0/instances/{id}/ssh")
    def attached(self, request: Request) -> Reply:
        instance, key = self._named(request), request.body.get("ssh_key")
        if not key or not key.startswith(("ssh-", "ecdsa-")):
            raise _refused(400, "invalid_args", "Invalid SSH key")
        if key not in instance.keys:
            instance.keys.append(key)
            if instance.ours:
                self.machines[str(instance.id)].authorize(key)
        return Reply(body={"success": True, "msg": "SSH key attached successfully"})

    def _named(self, request: Request, *, must: bool = True) -> Any:
        number = request.args["id"]
        if not number.isdecimal():
            raise _refused(400, "invalid_args", "invalid instance_id")
        instance = self.instances.get(int(number))
        if instance is None and must:
            raise _refused(404, "not_found", "Instance not found")
        return instance

    # ---- what becomes of them

    def _all(self) -> list[Instance]:
        return list(self.instances.values())

    def _stop(self, instance: Instance, actual: str, *, intended: str = "running") -> None:
        assert actual in DEAD
        instance.actual, instance.intended = actual, intended
        self.machines.end(str(instance.id))

    def outbid(self, number: int) -> None:
        """Somebody bids more: its container ends, its disk stays and is billed."""
        with self.lock:
            self.instances[number].ask.min_bid *= 4
            self._stop(self.instances[number], "stopped")

    def die(self, number: int, actual: str = "exited") -> None:
        """Its container ends by itself, or its host is out of reach."""
        with self.lock:
            if number in self.instances:
                self._stop(self.instances[number], actual)

    @property
    def ours(self) -> list[Instance]:
        """Those that are not strangers'."""
        with self.lock:
            return [each for each in self._all() if each.ours]

    def given(self) -> list[str]:
        """All keys that it knows or has known."""
        with self.lock:
            return list(self._given)
