"""Verda's API: tokens, a catalogue, instances with volumes, keys and scripts."""

from __future__ import annotations

import hmac
import secrets
import uuid
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from fakes.machines import FakeMachines
from fakes.schema import Schema
from fakes.server import Refusal, Reply, Request, route

from .catalogue import IMAGES, KINDS, LOCATIONS, image_names
from .shelves import SOLD_OUT, Shelves, now, refused

__all__ = ["Fake", "Held"]


@define
class Held:
    """An instance, and what the API does not tell of it."""

    facts: dict[str, Any]
    looks: int
    """As many looks at it until it runs; ``-1`` for one that never will."""
    policy: str = "keep_detached"
    ending: int = 0
    """Looks at it until a deleted one is told no more."""

    @property
    def status(self) -> str:
        return str(self.facts["status"])

    @status.setter
    def status(self, value: str) -> None:
        self.facts["status"] = value


@define
class Market:
    """What there is of each kind: in each location, and by market; a number is how many may be had."""

    on_demand: dict[str, dict[str, int]] = field(factory=dict)
    spot: dict[str, dict[str, int]] = field(factory=dict)

    def rows(self, *, spot: bool) -> list[dict[str, Any]]:
        there = self.spot if spot else self.on_demand
        return [
            {
                "location_code": each["code"],
                "availabilities": [k for k, n in there.get(each["code"], {}).items() if n > 0],
            }
            for each in LOCATIONS
        ]


class Fake(Shelves):
    """The fake.

    Args:
        machines: what it sells.
    """

    schema = Schema(yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text()))

    def __init__(self, machines: FakeMachines) -> None:
        self.machines = machines
        self.client = (secrets.token_hex(16), secrets.token_urlsafe(30))
        self._open()
        super().__init__(machines.address)

    @property
    def environment(self) -> dict[str, str]:
        """By which clients find it."""
        name, secret = self.client
        return {
            "VERDA_CLIENT_ID": name,
            "VERDA_CLIENT_SECRET": secret,
            "SKYWARD_VERDA_ENDPOINT": f"{self.endpoint}/v1",
        }

    def _open(self) -> None:
        self.tokens: dict[str, bool] = {}  # and whether each is good
        self.token_life = 3600
        self.refusing = 0
        self.balance = 100.0
        self.held: dict[str, Held] = {}
        self.clear()
        self.boot_looks = 2
        self.stuck = self.slow = 0
        self.stubborn = False
        """Instances that are being provisioned cannot be deleted."""
        self.multi = False
        """A deletion that fails for one of one instances is told with 207 as well."""
        plenty = {each["instance_type"]: 1000 for each in KINDS}
        self.market = Market(
            {"FIN-01": dict(plenty), "FIN-03": dict(plenty), "ICE-01": {"CPU.4V.16G": 1000}},
            {"FIN-01": {}, "FIN-03": dict(plenty), "ICE-01": {}},
        )
        self._move_in()

    def _move_in(self) -> None:
        """What others have in the same account."""
        key = self.add(
            self.keys, name="laptop", key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ laptop", fingerprint="aa:bb"
        )
        script = self.add(
            self.scripts, name="skyward-mine.sh", script="#!/bin/sh\necho skyward-like, and not skyward's\n"
        )
        order = {
            "instance_type": "1H100.80S.30V",
            "image": "ubuntu-24.04-cuda-12.8-open",
            "hostname": "skyward-notebook",
            "description": "a notebook",
            "ssh_key_ids": [key],
            "startup_script_id": script,
            "location_code": "FIN-01",
            "os_volume": {"name": "skyward-notebook", "size": 100},
        }
        name = self._made(order, ip="198.51.100.9")
        self.held[name].status = "running"
        self.volume("skyward-data", 500, "FIN-01", None)
        self.theirs = {name, key, script, *self.volumes}

    # ---- what a fake gives

    def authorize(self, request: Request) -> Reply | None:
        if request.path == "/v1/oauth2/token":
            return None
        if self.refusing or not self.tokens.get(request.bearer):
            return refused(401).reply
        return None

    def strangers(self) -> object:
        found = {**self.keys, **self.scripts, **self.volumes}
        found |= {name: held.facts for name, held in self.held.items()}
        return {name: found.get(name) for name in self.theirs}

    def existing(self) -> set[str]:
        """Instances of ours that are billed: all that are not deleted or taken back."""
        with self.lock:
            names = {name for name, held in self.held.items() if held.status not in ("deleting", "discontinued")}
            return names - self.theirs

    def belongings(self) -> set[str]:
        """Keys, scripts and volumes of ours, those in the trash too; volumes that instances have left out."""
        with self.lock:
            loose = {name for name, facts in self.volumes.items() if facts["instance_id"] is None}
            return {*self.keys, *self.scripts, *loose, *self.trash} - self.theirs

    # ---- tokens

    @route("POST", "/v1/oauth2/token")
    def token(self, request: Request) -> Reply:
        given = (str(request.body["client_id"]), str(request.body["client_secret"]))
        if self.refusing or not all(hmac.compare_digest(*pair) for pair in zip(given, self.client, strict=True)):
            self.refusing = max(self.refusing - 1, 0)
            raise refused(401, "Invalid client id or client secret")
        made = secrets.token_urlsafe(40)
        self.tokens[made] = True
        return Reply(
            200,
            {
                "access_token": made,
                "refresh_token": secrets.token_urlsafe(40),
                "token_type": "Bearer",
                "expires_in": self.token_life,
                "scope": "cloud-api-v1",
            },
        )

    def revoke(self) -> None:
        """No token that was given out is good any more."""
        with self.lock:
            self.tokens = dict.fromkeys(self.tokens, False)

    # ---- the catalogue

    @route("GET", "/v1/balance")
    def tell_balance(self, request: Request) -> Reply:
        return Reply(200, {"amount": self.balance, "currency": "usd"})

    @route("GET", "/v1/locations")
    def tell_locations(self, request: Request) -> Reply:
        return Reply(200, LOCATIONS)

    @route("GET", "/v1/images")
    def tell_images(self, request: Request) -> Reply:
        names = image_names(request.query.get("instance_type"))
        return Reply(200, [each for each in IMAGES if each["image_type"] in names])

    @route("GET", "/v1/instance-types")
    def tell_kinds(self, request: Request) -> Reply:
        currency = request.query.get("currency", "eur")
        return Reply(200, [{**each, "currency": currency} for each in KINDS])

    @route("GET", "/v1/instance-availability")
    def tell_availability(self, request: Request) -> Reply:
        query = request.query
        spot = "true" in (query.get("is_spot"), query.get("isSpot"))
        where = query.get("location_code")
        return Reply(200, [row for row in self.market.rows(spot=spot) if where in (None, row["location_code"])])

    # ---- instances

    @route("GET", "/v1/instances")
    def list(self, request: Request) -> Reply:
        for name in list(self.held):
            self._looked(name)
        return Reply(200, [held.facts for held in self.held.values()])

    @route("GET", "/v1/instances/{id}")
    def get(self, request: Request) -> Reply:
        name = request.args["id"]
        self._looked(name)
        if name not in self.held:
            raise refused(404, "Invalid instance id")
        return Reply(200, self.held[name].facts)

    @route("POST", "/v1/instances")
    def create(self, request: Request) -> Reply:
        order = request.body
        kind, where = order["instance_type"], order.get("location_code", "FIN-03")
        if order["image"] not in image_names(kind):
            raise refused(400, "Operating system is not valid for this instance type")
        if not order.get("ssh_key_ids") or not set(order["ssh_key_ids"]) <= self.keys.keys():
            raise refused(400, "SSH keys can be an array of UUID's, a single UUID string, null value or not defined")
        if order.get("startup_script_id") and order["startup_script_id"] not in self.scripts:
            raise refused(400, "Invalid startup script id")
        if self.balance <= 0:
            raise refused(402, "Insufficient funds")
        there = (self.market.spot if order.get("is_spot") else self.market.on_demand).get(where, {})
        if there.get(kind, 0) < 1:
            raise Refusal(503, SOLD_OUT)
        there[kind] -= 1
        return Reply(202, self._made(order))

    def _made(self, order: dict[str, Any], ip: str | None = None) -> str:
        name = str(uuid.uuid4())
        kind = next(each for each in KINDS if each["instance_type"] == order["instance_type"])
        asked = order.get("os_volume") or {"name": order["hostname"], "size": 50}
        where, spot = order["location_code"], bool(order.get("is_spot"))
        volume = self.volume(asked["name"], asked["size"], where, name)
        facts = {
            "id": name,
            "ip": ip,
            "status": "ordered",
            "created_at": now(),
            **{key: order[key] for key in ("hostname", "description", "instance_type", "image", "ssh_key_ids")},
            "location": where,
            "price_per_hour": float(kind["spot_price" if spot else "price_per_hour"]),
            "is_spot": spot,
            "os_name": asked["name"],
            "startup_script_id": order.get("startup_script_id"),
            "os_volume_id": volume,
            "volume_ids": [],
            "contract": order.get("contract", "PAY_AS_YOU_GO"),
            "pricing": order.get("pricing", "FIXED_PRICE"),
            **{key: kind[key] for key in ("cpu", "gpu", "memory", "gpu_memory", "storage")},
        }
        looks = -1 if self.stuck else 6 if self.slow else self.boot_looks
        self.stuck, self.slow = max(self.stuck - 1, 0), max(self.slow - 1, 0)
        held = Held(facts, looks, policy=asked.get("on_spot_discontinue", "keep_detached"))
        self.held[name] = held
        if ip is None:
            keys = [self.keys[each]["key"] for each in order["ssh_key_ids"]]
            script = self.scripts.get(str(order.get("startup_script_id")), {}).get("script")
            self.machines.start(name, authorized=keys, script=script or "", ended=self._powered_off)
        return name

    def _looked(self, name: str) -> None:
        """Time goes by in looks: an instance is ordered, provisioned, and runs; one that is deleted vanishes."""
        held = self.held.get(name)
        if held is None:
            return
        if held.status == "deleting":
            held.ending -= 1
            if held.ending < 0:
                del self.held[name]
        elif held.status in ("ordered", "provisioning", "validating") and held.looks:
            held.status = "provisioning"
            held.looks -= 1 if held.looks > 0 else 0
        elif held.status in ("ordered", "provisioning", "validating"):
            held.status, held.facts["ip"] = "running", self.machines[name].host

    def _powered_off(self, name: str) -> None:
        """An instance has shut itself down: it is offline, and billed."""
        with self.lock:
            if name in self.held and self.held[name].status not in ("deleting", "discontinued"):
                self.held[name].status = "offline"

    def finish(self, name: str, status: str) -> None:
        """Let an instance come to this end by itself; ``discontinued`` is what an evicted spot instance is."""
        with self.lock:
            held = self.held[name]
            held.status = status
            if status == "discontinued":
                self._dispose(
                    held, permanently=held.policy == "delete_permanently", kept=held.policy == "keep_detached"
                )
        self.machines.end(name)

    @route("PUT", "/v1/instances")
    def act(self, request: Request) -> Reply:
        body = request.body
        assert body["action"] == "delete", f"the fake does not know {body['action']}"
        results = [self._deleted(name, body) for name in body["id"]]
        failed = [each for each in results if each["status"] == "error"]
        if failed and len(failed) == len(results) and not self.multi:
            raise refused(int(failed[0]["statusCode"]), str(failed[0]["error"]))
        return Reply(207 if failed else 202, results)

    def _deleted(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        result = {"action": "delete", "instanceId": name, "status": "error", "statusCode": 400}
        held = self.held.get(name)
        if held is None:
            return {**result, "error": "Invalid instance id"}
        if held.status in ("deleting", "discontinued"):
            return {**result, "error": "Can't discontinue a discontinued instance"}
        if held.status == "provisioning" and self.stubborn:
            self._looked(name)  # time goes by
            return {**result, "error": "Can't discontinue a provisioning instance"}
        named = body.get("volume_ids")
        self._dispose(
            held,
            permanently=body.get("delete_permanently") is True,
            kept=named is not None and held.facts["os_volume_id"] not in named,
        )
        held.status, held.ending = "deleting", 1
        self.machines.end(name)
        return {"action": "delete", "instanceId": name, "status": "success"}

    def _dispose(self, held: Held, *, permanently: bool, kept: bool) -> None:
        """What becomes of the volume of an instance that is no more."""
        volume = str(held.facts["os_volume_id"])
        if kept:
            self.volumes[volume].update(status="detached", instance_id=None)
        elif self.volumes.pop(volume, None) is not None and not permanently:
            self.trash.add(volume)
