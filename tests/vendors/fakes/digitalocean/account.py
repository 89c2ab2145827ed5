"""One account: who may ask, how lists come in pages, what there is to buy, and its keys and tags."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, override

from attrs import evolve

from fakes.faults import Plan
from fakes.schema import Schema
from fakes.server import Reply, Request, VendorServer, route

from .catalogue import REGIONS, VPC, sizes
from .droplets import Droplet

__all__ = ["Account", "refusal"]

_WORDS = {
    401: ("Unauthorized", "Unable to authenticate you"),
    403: ("Forbidden", "You are not authorized to perform this operation"),
    404: ("not_found", "The resource you were accessing could not be found."),
    429: ("too_many_requests", "API rate limit exceeded."),
    500: ("server_error", "Unexpected server-side error"),
    503: ("service_unavailable", "The service is unavailable, try again later"),
}


def refusal(status: int, message: str = "") -> Reply:
    """An answer in DigitalOcean's form."""
    name, words = _WORDS.get(status, ("unprocessable_entity", f"status {status}"))
    body = {"id": name, "message": message or words, "request_id": "4d9d8375-3c56-4925-a3e7-eb137fed17e9"}
    return Reply(status, body)


def _patched(document: dict[str, Any]) -> None:
    """YAML takes the word ``off`` for a falsehood, so a status of that name is missing in the document."""

    def mend(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("enum") == ["new", "active", False, "archive"]:
                value["enum"] = ["new", "active", "off", "archive"]
            for each in value.values():
                mend(each)
        elif isinstance(value, list):
            for each in value:
                mend(each)

    mend(document)


class Account(VendorServer):
    """What an account has beside droplets.

    Attributes:
        token: the account's.
        page_limit: things on a page at most.
        droplet_limit: droplets at most.
        droplets: by number.
        keys: by number.
        tags: by their names in small letters, as they were spelt first.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.schema = Schema.load(
            "do_subset_openapi.json",
            patch=_patched,
            unknown=("* /v2/tags/*", "GET /v2/vpcs/*"),
        )
        self.token = f"dop_v1_{secrets.token_hex(32)}"
        self.page_limit = 200
        self.droplet_limit = 25
        self.droplets: dict[int, Droplet] = {}
        self.keys: dict[int, dict[str, Any]] = {}
        self.tags: dict[str, str] = {}
        self.sizes = sizes()
        self._number = 512_000_000
        self._strange: set[int | str] = set()
        super().__init__(address)

    # ---- who may ask, and what every answer has

    @override
    def authorize(self, request: Request) -> Reply | None:
        return None if request.bearer == self.token else refusal(401)

    @override
    def problem(self, status: int) -> Reply:
        return refusal(status)

    @override
    def unfit(self, request: Request, problems: list[str]) -> Reply | None:
        return refusal(422, "; ".join(problems))

    @override
    def answer(self, request: Request, plan: Plan) -> Reply | None:
        reply = super().answer(request, plan)
        if reply is None:
            return None
        limits = {
            "ratelimit-limit": "5000",
            "ratelimit-remaining": str(max(5000 - len(self.requests), 0)),
            "ratelimit-reset": str(int(time.time()) + 3600),
        }
        return evolve(reply, headers={**limits, **reply.headers})

    def page(self, request: Request, name: str, things: list[dict[str, Any]]) -> Reply:
        """A page of a list, with the address of the next one."""
        size = min(int(request.query.get("per_page", "20")), 200, self.page_limit)
        page = int(request.query.get("page", "1"))
        links: dict[str, Any] = {}
        if page * size < len(things):
            rest = "".join(f"&{key}={value}" for key, value in request.query.items() if key not in ("page", "per_page"))
            # DigitalOcean's own name stands there, wherever the question came in.
            links = {"next": f"https://api.digitalocean.com{request.path}?page={page + 1}&per_page={size}{rest}"}
        some = things[(page - 1) * size : page * size]
        return Reply(body={name: some, "links": {"pages": links} if links else {}, "meta": {"total": len(things)}})

    # ---- what there is

    @route("GET", "/v2/account")
    def account(self, request: Request) -> Reply:
        return Reply(
            body={
                "account": {
                    "droplet_limit": self.droplet_limit,
                    "floating_ip_limit": 5,
                    "email": "ada@example.com",
                    "name": "Ada",
                    "uuid": "b6fr89dbf6d9156cace5f3c78dc9851d957381ef",
                    "email_verified": True,
                    "status": "active",
                    "status_message": "",
                    "team": {"uuid": "5df3e3004a17e242b7c20ca6c9fc25b701a47ece", "name": "My Team"},
                }
            }
        )

    @route("GET", "/v2/sizes")
    def list_sizes(self, request: Request) -> Reply:
        return self.page(request, "sizes", list(self.sizes.values()))

    @route("GET", "/v2/regions")
    def list_regions(self, request: Request) -> Reply:
        regions = [
            {
                "slug": slug,
                "name": name,
                "features": ["metadata", "backups"],
                "available": True,
                "sizes": [size["slug"] for size in self.sizes.values() if slug in size["regions"]],
            }
            for slug, name in REGIONS.items()
        ]
        return self.page(request, "regions", regions)

    @route("GET", "/v2/vpcs/{id}")
    def vpc(self, request: Request) -> Reply:
        if request.args["id"] != VPC:
            return refusal(404)
        return Reply(body={"vpc": {"id": VPC, "name": "default-nyc1", "region": "nyc1"}})

    # ---- keys

    @route("GET", "/v2/account/keys")
    def list_keys(self, request: Request) -> Reply:
        return self.page(request, "ssh_keys", list(self.keys.values()))

    @route("POST", "/v2/account/keys")
    def create_key(self, request: Request) -> Reply:
        public = str(request.body["public_key"])
        if not re.match(r"(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]+", public):
            return refusal(422, "Key invalid, key should be of form `ssh-rsa ...`")
        if any(key["public_key"].split()[1] == public.split()[1] for key in self.keys.values()):
            return refusal(422, "SSH Key is already in use on your account")
        return Reply(201, {"ssh_key": self.key(str(request.body["name"]), public)})

    @route("GET", "/v2/account/keys/{id}")
    def get_key(self, request: Request) -> Reply:
        name = request.args["id"]
        found = [key for number, key in self.keys.items() if name in (str(number), key["fingerprint"])]
        return Reply(body={"ssh_key": found[0]}) if found else refusal(404)

    @route("DELETE", "/v2/account/keys/{id}")
    def delete_key(self, request: Request) -> Reply:
        name = request.args["id"]
        found = [number for number, key in self.keys.items() if name in (str(number), key["fingerprint"])]
        for number in found:
            del self.keys[number]
        return Reply(204) if found else refusal(404)

    def key(self, name: str, public: str) -> dict[str, Any]:
        """Keep a key."""
        digest = hashlib.md5(base64.b64decode(public.split()[1])).hexdigest()
        fingerprint = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
        key: dict[str, Any] = {"id": self.number(), "fingerprint": fingerprint, "public_key": public, "name": name}
        self.keys[key["id"]] = key
        return key

    # ---- tags

    @route("GET", "/v2/tags")
    def list_tags(self, request: Request) -> Reply:
        return self.page(request, "tags", [self._tag(name) for name in self.tags.values()])

    @route("POST", "/v2/tags")
    def create_tag(self, request: Request) -> Reply:
        return Reply(201, {"tag": self._tag(self.tag(str(request.body["name"])))})

    @route("GET", "/v2/tags/{name}")
    def get_tag(self, request: Request) -> Reply:
        name = request.args["name"]
        return Reply(body={"tag": self._tag(name)}) if self.tags.get(name.lower()) == name else refusal(404)

    @route("DELETE", "/v2/tags/{name}")
    def delete_tag(self, request: Request) -> Reply:
        name = request.args["name"]
        if self.tags.get(name.lower()) != name:
            return refusal(404)
        del self.tags[name.lower()]
        self._untag(name, self.droplets.values())
        return Reply(204)

    @route("POST", "/v2/tags/{name}/resources")
    def tag_resources(self, request: Request) -> Reply:
        name, named = request.args["name"], self._resources(request)
        if self.tags.get(name.lower()) != name or None in named:
            return refusal(404)
        for droplet in named:
            if droplet is not None and name not in droplet.tags:
                droplet.tags.append(name)
        return Reply(204)

    @route("DELETE", "/v2/tags/{name}/resources")
    def untag_resources(self, request: Request) -> Reply:
        named = self._resources(request)
        if None in named:
            return refusal(404)
        self._untag(request.args["name"], (each for each in named if each is not None))
        return Reply(204)

    def tag(self, name: str) -> str:
        """Keep a tag; its name as it was spelt first."""
        return self.tags.setdefault(name.lower(), name)

    def _tag(self, name: str) -> dict[str, Any]:
        count = sum(name in droplet.tags for droplet in self.droplets.values())
        return {"name": name, "resources": {"count": count, "droplets": {"count": count}}}

    def _untag(self, name: str, droplets: Iterable[Droplet]) -> None:
        for droplet in droplets:
            droplet.tags = [tag for tag in droplet.tags if tag != name]

    def _resources(self, request: Request) -> list[Droplet | None]:
        named = [each["resource_id"] for each in request.body["resources"] if each["resource_type"] == "droplet"]
        return [self.droplets.get(int(name)) for name in named]

    # ---- what a test asks

    def number(self) -> int:
        """A number that nothing has had."""
        self._number += 1
        return self._number

    def settle(self) -> None:
        """Let strangers have droplets, a key and tags here."""
        tags = [self.tag(tag) for tag in ("Production", "skyward", "skyward:fans")]
        for name, slug, status in (
            ("skyward-website", "s-1vcpu-1gb", "active"),
            ("training", "gpu-h100x1-80gb", "active"),
            ("old", "s-2vcpu-4gb", "off"),
        ):
            droplet = Droplet(self.number(), name, self.sizes[slug], "nyc1", "ubuntu-24-04-x64", list(tags))
            droplet.status, droplet.strange = status, True
            self.droplets[droplet.id] = droplet
        key = self.key("skyward laptop", f"ssh-ed25519 {base64.b64encode(secrets.token_bytes(51)).decode()} ada")
        self._strange |= {key["id"], *tags}

    @override
    def strangers(self) -> object:
        with self.lock:
            droplets = [each for each in self.droplets.values() if each.strange]
            return (
                [(each.id, each.name, tuple(each.tags), each.status) for each in droplets],
                [key for key in self.keys.values() if key["id"] in self._strange],
                [tag for tag in self.tags.values() if tag in self._strange],
            )

    def belongings(self) -> set[str]:
        """The keys and tags that are no strangers'."""
        with self.lock:
            keys = {f"key {key['name']}" for key in self.keys.values() if key["id"] not in self._strange}
            return keys | {f"tag {tag}" for tag in self.tags.values() if tag not in self._strange}
