"""The server: droplets, from the order to the end."""

from __future__ import annotations

import re
import threading
from typing import Any

from fakes.machines import FakeMachines
from fakes.server import Reply, Request, route

from .account import Account, refusal
from .catalogue import IMAGES, REGIONS, VPC
from .droplets import Droplet, told

__all__ = ["NO_CAPACITY", "OVER_LIMIT", "DigitalOceanServer"]

_TAG = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")
_NAME = re.compile(r"[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]")
_LONGEST = 64 * 1024
NO_CAPACITY = {"id": "unprocessable_entity", "message": "Size is not available in this region."}
OVER_LIMIT = {
    "id": "unprocessable_entity",
    "message": "creating this/these droplet(s) will exceed your droplet limit",
}


class DigitalOceanServer(Account):
    """One account, with strangers in it.

    Attributes:
        boot_looks: how many looks at a droplet tell that it is new, before it is active.
        list_lag: how many lists do not tell of a new droplet.
        stuck: how many of the next droplets never boot.
        slow: how many of the next droplets take four looks more.
        off: set as soon as a droplet has powered itself off.
    """

    def __init__(self, machines: FakeMachines | None = None) -> None:
        self.machines = machines or FakeMachines("digitalocean")
        self.boot_looks = 1
        self.list_lag = 0
        self.stuck = 0
        self.slow = 0
        self.off = threading.Event()
        super().__init__(self.machines.address)
        self.settle()

    @property
    def environment(self) -> dict[str, str]:
        """By which clients find it."""
        return {"DIGITALOCEAN_TOKEN": self.token, "SKYWARD_DIGITALOCEAN_ENDPOINT": self.endpoint}

    @route("GET", "/v2/droplets")
    def list_droplets(self, request: Request) -> Reply:
        kind, tag = request.query.get("type", "droplets"), request.query.get("tag_name")
        if kind == "gpus" and tag is not None:
            return refusal(422, "type and tag_name cannot be combined")
        found = []
        for droplet in self.droplets.values():
            droplet.listed += 1
            fits = droplet.gpu == (kind == "gpus") and (tag is None or tag in droplet.tags)
            if fits and droplet.name == request.query.get("name", droplet.name) and droplet.listed > droplet.lag:
                found.append(self._looked(droplet))
        return self.page(request, "droplets", found)

    @route("GET", "/v2/droplets/{id}")
    def get_droplet(self, request: Request) -> Reply:
        droplet = self._named(request)
        return refusal(404) if droplet is None else Reply(body={"droplet": self._looked(droplet)})

    @route("DELETE", "/v2/droplets/{id}")
    def delete_droplet(self, request: Request) -> Reply:
        droplet = self._named(request)
        if droplet is None:
            return refusal(404)
        del self.droplets[droplet.id]
        if not droplet.strange:
            self.machines.end(str(droplet.id))
        return Reply(204)

    @route("POST", "/v2/droplets")
    def create_droplet(self, request: Request) -> Reply:
        body = request.body
        refused = self._refused(body)
        if refused is not None:
            return refused
        droplet = Droplet(
            id=self.number(),
            name=body["name"],
            size=self.sizes[body["size"]],
            region=body["region"],
            image=body["image"],
            tags=[self.tag(tag) for tag in body.get("tags") or ()],
            keys=[self.keys[key]["public_key"] for key in body.get("ssh_keys", ())],
            user_data=body.get("user_data", ""),
            vpc=body.get("vpc_uuid") or VPC,
            looks=self.boot_looks,
            lag=self.list_lag,
        )
        if self.stuck:
            self.stuck -= 1
            droplet.looks = 10**9
        elif self.slow:
            self.slow -= 1
            droplet.looks += 4
        self.droplets[droplet.id] = droplet
        self._start(droplet)
        return Reply(202, {"droplet": self._told(droplet), "links": {"actions": []}})

    def _refused(self, body: dict[str, Any]) -> Reply | None:
        size, region = self.sizes.get(body["size"]), str(body.get("region", ""))
        if size is None or region not in REGIONS:
            what = "size" if size is None else "region"
            return refusal(422, f"You specified an invalid {what} for Droplet creation.")
        if region not in size["regions"] or not size["available"]:
            return Reply(422, NO_CAPACITY)
        if body["image"] not in IMAGES and body["image"] != 7_555_620:
            return refusal(422, "You specified an invalid image for Droplet creation.")
        strange = [str(key) for key in body.get("ssh_keys", ()) if key not in self.keys]
        if strange:
            return refusal(422, f"{', '.join(strange)} are invalid key identifiers for Droplet creation.")
        if not _NAME.fullmatch(body["name"]):
            return refusal(422, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)")
        if any(not _TAG.fullmatch(tag) for tag in body.get("tags") or ()):
            return refusal(422, "Tag names may only contain letters, numbers, colons, dashes, and underscores.")
        if len(body.get("user_data", "").encode()) > _LONGEST:
            return refusal(422, "User data is too long")
        return Reply(422, OVER_LIMIT) if len(self.droplets) >= self.droplet_limit else None

    def _start(self, droplet: Droplet) -> None:
        machine = self.machines.start(
            str(droplet.id),
            authorized=droplet.keys,
            user_data=droplet.user_data.encode(),
            ended=lambda name: self.power_off(int(name)),
        )
        # Containers have a network of their own, in which they reach each other.
        real = machine._machine
        droplet.public, droplet.private = machine.host, machine.host if real is None else real.private_ip

    # ---- what a test asks

    def power_off(self, number: int) -> None:
        """What a droplet does by itself: it is off, and there."""
        with self.lock:
            if number in self.droplets:
                self.droplets[number].status = "off"
                self.off.set()

    @property
    def ours(self) -> dict[int, Droplet]:
        """The droplets that are no strangers'."""
        with self.lock:
            return {number: each for number, each in self.droplets.items() if not each.strange}

    # ---- inside

    def _looked(self, droplet: Droplet) -> dict[str, Any]:
        if droplet.status == "new":
            droplet.looks -= 1
            if droplet.looks < 0:
                droplet.status = "active"
        return self._told(droplet)

    def _told(self, droplet: Droplet) -> dict[str, Any]:
        return told(droplet, REGIONS[droplet.region])

    def _named(self, request: Request) -> Droplet | None:
        name = request.args["id"]
        return self.droplets.get(int(name)) if name.isdigit() else None
